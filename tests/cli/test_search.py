"""`stepmark search`: what is on record is right and survives a kill; mistakes are told before anything is written."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from stepmark.budget.flops import ModelSize, flops
from stepmark.cli import main
from stepmark.policies import bundled
from stepmark.policies.base import ScriptedPolicy
from stepmark.problems import quantities
from stepmark.records import write
from stepmark.search.solve import read_searches
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Cost

COMMAND = [sys.executable, "-c", "from stepmark.cli import main; raise SystemExit(main())"]
PROBLEMS = list(quantities.generate("test", 6, levels=(1, 2)))


@pytest.fixture
def problems(tmp_path):
    write(tmp_path / "problems.jsonl", PROBLEMS)
    return tmp_path / "problems.jsonl"


@pytest.fixture
def scripted(monkeypatch):
    """The bundled policy replaced by one that knows half of the answers."""
    gold = {one.question: one.gold if number % 2 else "0" for number, one in enumerate(PROBLEMS)}
    policy = ScriptedPolicy(
        lambda prefix, index, seed: "" if prefix.steps else f"Answer: {gold[prefix.problem.question.splitlines()[0]]}\n"
    )
    policy.close = lambda: None
    monkeypatch.setattr(bundled, "load", lambda **_: policy)
    return policy


def search(problems, out, *options):
    return main(["search", "--problems", str(problems), "--out", str(out), *options])


def without_split(result):
    """The result without what hangs on its company: how prompts were split into computed and cached, and so FLOPs, and
    the last bits of log-probabilities."""
    nodes = [replace(one, logprob=0.0, cost=Cost(generated=one.cost.generated)) for one in result.nodes]
    return replace(result, nodes=tuple(nodes), cost=Cost(generated=result.cost.generated), flops=None)


def test_scores_are_combined_as_the_reward_model_says(tmp_path, problems, scripted):
    for out, words, combined in (
        ("as it says", ["--reward", "bundled"], "product"),
        ("as told", ["--reward", "bundled", "--aggregate", "min"], "min"),
        ("nothing says", ["--reward", "noisy"], "last"),
    ):
        assert search(problems, tmp_path / out, "--strategy", "parallel", "--n", "2", *words) == 0
        assert read_searches(tmp_path / out).setup.settings.combine == combined


def test_several_processes_grow_the_same_trees(tmp_path, problems):
    for processes in (1, 2):
        words = ["--strategy", "beam", "--n", "4", "--reward", "bundled", "--processes", str(processes)]
        assert search(problems, tmp_path / str(processes), *words) == 0
    one, two = (read_searches(tmp_path / name) for name in ("1", "2"))
    assert [[node.token_ids for node in result.nodes] for result in one.results] == [
        [node.token_ids for node in result.nodes] for result in two.results
    ]
    assert [result.cost.generated for result in one.results] == [result.cost.generated for result in two.results]


def test_a_server_has_processes_of_its_own(tmp_path, problems, capsys):
    server = ["--policy", "http://nowhere", "--model", "m", "--processes", "2"]
    assert search(problems, tmp_path / "run", "--strategy", "beam", "--reward", "noisy", *server) == 2
    assert "leave --processes out" in capsys.readouterr().err


def test_a_killed_command_goes_on_to_the_same_trees(tmp_path, problems):
    words = ["search", "--strategy", "beam", "--n", "8", "--reward", "noisy", "--problems", str(problems), "--out"]
    process = subprocess.Popen([*COMMAND, *words, str(tmp_path / "run")], stdout=subprocess.DEVNULL)
    file = tmp_path / "run" / "searches.jsonl.gz"
    end = time.monotonic() + 120
    while not (file.exists() and file.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert main([*words, str(tmp_path / "run")]) == 0
    assert main([*words, str(tmp_path / "other")]) == 0
    run, other = read_searches(tmp_path / "run"), read_searches(tmp_path / "other")
    assert list(map(without_split, run.results)) == list(map(without_split, other.results))
    size = ModelSize.read(bundled.PATH)
    for one in run.results:
        assert one.flops.policy == pytest.approx(sum(flops(size, node.cost) for node in one.nodes))
        assert one.flops.reward == 0


@pytest.mark.parametrize("name", sorted(STRATEGIES.keys() - {"auto"}))
def test_every_strategy_can_be_called_by_its_name_and_says_what_came_out(tmp_path, problems, scripted, name, capsys):
    assert search(problems, tmp_path / "run", f"--strategy={name}", "--reward", "oracle", "--seed", "3") == 0
    out = capsys.readouterr().out
    assert "6 problems, 50.0% right" in out
    assert "problems/s" in out
    found = read_searches(tmp_path / "run")
    assert type(found.setup.settings) is STRATEGIES[name][1]
    assert found.setup.settings.seed == 3
    calls = len(scripted.calls)
    assert search(problems, tmp_path / "run", f"--strategy={name}", "--reward", "oracle", "--seed", "3") == 0
    assert len(scripted.calls) == calls
    assert "searched now" not in capsys.readouterr().out


@pytest.mark.parametrize("name", STRATEGIES)
def test_the_help_of_a_strategy_tells_its_settings(name, capsys):
    with pytest.raises(SystemExit):
        main(["search", "--strategy", name, "--help"])
    told = capsys.readouterr().out
    own = set(STRATEGIES[name][1].__dataclass_fields__) - {"budget", "models"}
    assert {one for one in own if f"--{one.replace('_', '-')}" not in told} == set()
    assert "--budget.tokens" in told
    assert "--models" not in told


def test_a_budget_holds(tmp_path, problems, scripted):
    words = ("--strategy", "parallel", "--n", "64", "--choose", "majority", "--budget.tokens", "50")
    assert search(problems, tmp_path / "run", *words) == 0
    for one in read_searches(tmp_path / "run").results:
        assert 0 < one.cost.generated <= 50
        assert one.exhausted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--strategy", "bean", "--reward", "oracle"], "did you mean 'beam'?"),
        (["--strategy", "beam"], "needs a reward model"),
        (["--strategy", "beam", "--reward", "nowhere"], "nowhere"),
        (["--strategy", "beam", "--n", "2", "--reward", "oracle"], "n is at least m"),
        (["--strategy", "adaptive", "--budget.tokens", "0"], "a budget of 0 tokens"),
        (["--strategy", "adaptive", "--policy", "http://127.0.0.1:1"], "--model"),
        (
            ["--strategy", "adaptive", "--policy", "http://127.0.0.1:1", "--model", "m", "--budget.flops", "1e9"],
            "--size",
        ),
    ],
)
def test_mistakes_are_told_before_anything_is_written(tmp_path, problems, options, words, capsys):
    assert search(problems, tmp_path / "run", *options) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_the_oracle_refuses_problems_that_it_does_not_know(tmp_path, capsys):
    write(tmp_path / "problems.jsonl", [replace(PROBLEMS[0], question="What is 1 + 1?")])
    assert search(tmp_path / "problems.jsonl", tmp_path / "run", "--strategy", "beam", "--reward", "oracle") == 2
    assert "Quantities problems alone" in capsys.readouterr().err
