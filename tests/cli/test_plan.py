"""`stepmark plan`, and what `stepmark search --strategy auto` makes of it."""

import pytest

from stepmark.budget.plan import read_plan
from stepmark.cli import main
from stepmark.policies import bundled
from stepmark.policies.base import ScriptedPolicy
from stepmark.problems import quantities
from stepmark.records import write
from stepmark.search.solve import read_searches

PROBLEMS = list(quantities.generate("test", 8, levels=(2, 5)))


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Runs of a policy of which every second sample says the right answer, with the bundled one's name."""
    home = tmp_path_factory.mktemp("plan")
    gold = {one.question: one.gold for one in PROBLEMS}
    policy = ScriptedPolicy(
        lambda prefix, i, seed: "" if prefix.steps else f"Answer: {gold[prefix.problem.question] if i % 2 else '-1'}\n"
    )
    policy.close = lambda: None
    patch = pytest.MonkeyPatch()
    patch.setattr(bundled, "load", lambda **_: policy)
    write(home / "problems.jsonl", PROBLEMS)
    for name, options in {
        "two": ["parallel", "--n", "2"],
        "eight": ["parallel", "--n", "8"],
        "beam": ["beam", "--n", "4", "--m", "2"],
    }.items():
        assert search(home, name, *options) == 0
    yield home
    patch.undo()


def search(home, name, strategy, *options, noise="1.0"):
    words = ["search", "--strategy", strategy, *options, "--max-tokens", "256"] if strategy != "auto" else []
    words = words or ["search", "--strategy", strategy, *options]
    judge = ["--reward", "noisy", "--noise", noise]
    return main([*words, *judge, "--problems", str(home / "problems.jsonl"), "--out", str(home / name)])


def plan(home, *options):
    runs = [str(home / name) for name in ("two", "eight", "beam")]
    return main(["plan", *runs, "--out", str(home / "plan.json"), *options])


def test_a_plan_is_made_from_runs_and_followed(runs, capsys):
    assert plan(runs, "--budgets", "6,8", "--bins", "2") == 0
    told = capsys.readouterr().out
    assert "cross-validated" in told
    assert "best-of-n" in told
    made = read_plan(runs / "plan.json")
    assert (made.samples, made.measure, made.counted, made.problems) == (4, "predicted", True, 8)
    assert len(made.runs) == 3
    assert made.policy == {"name": "bundled", "endpoint": None, "dtype": None}
    assert search(runs, "auto", "auto", "--plan", str(runs / "plan.json"), "--within", "8") == 0
    found = read_searches(runs / "auto")
    assert main(["compare", str(runs / "auto"), str(runs / "eight")]) == 0
    assert f"plan={made}" in "".join(capsys.readouterr().out.split())
    assert found.setup.settings.plan == made
    assert all(one.generations <= 8 for one in found.results)
    assert [one.id for one in found.problems] == [one.id for one in PROBLEMS]
    firsts = [[node.steps for node in one.nodes[:4]] for one in found.results]
    assert firsts == [[node.steps for node in one.nodes[:4]] for one in read_searches(runs / "eight").results]


def test_a_plan_is_for_the_models_that_it_was_made_with(runs, capsys):
    assert plan(runs, "--budgets", "8") == 0
    options = ("--plan", str(runs / "plan.json"), "--within", "8")
    assert search(runs, "other", "auto", *options, noise="2.0") == 2
    assert "the plan was made with the reward model" in capsys.readouterr().err
    assert not (runs / "other").exists()


def test_a_plan_by_the_oracle_is_looked_at_and_not_followed(runs, capsys):
    assert plan(runs, "--budgets", "8", "--measure", "oracle", "--free") == 0
    assert read_plan(runs / "plan.json").samples == 8
    assert search(runs, "never", "auto", "--plan", str(runs / "plan.json"), "--within", "8") == 2
    assert "needs the answers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (("--budgets", "few"), "--budgets"),
        (("--budgets", "1"), "no run fits"),
        (("--baseline", "majority", "--budgets", "8"), "choose majority"),
        (("--samples", "9", "--budgets", "8"), "no 9 independent"),
    ],
)
def test_what_cannot_be_planned_is_told_and_nothing_written(runs, tmp_path, capsys, options, why):
    names = [str(runs / name) for name in ("two", "eight", "beam")]
    assert main(["plan", *names, "--out", str(tmp_path / "plan.json"), *options]) == 2
    assert why in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()
