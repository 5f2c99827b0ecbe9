"""`stepmark sample` and `stepmark score`: what is on record is right, and survives a kill."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from stepmark.cli import main
from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.base import ScriptedPolicy
from stepmark.policies.draw import draw
from stepmark.problems import quantities
from stepmark.records import Run, read, write
from stepmark.rewards.examples import Example
from stepmark.rewards.settings import Train
from stepmark.rewards.train import train
from stepmark.types import Cost, Problem, Sampling, Solution, SolutionScores

COMMAND = [sys.executable, "-c", "from stepmark.cli import main; raise SystemExit(main())"]
PROBLEMS = [*quantities.generate("test", 6, levels=(1,)), *quantities.generate("test", 6, seed=9, levels=(6,))]


@pytest.fixture
def problems(tmp_path):
    write(tmp_path / "problems.jsonl", PROBLEMS)
    return tmp_path / "problems.jsonl"


@pytest.fixture
def scripted(monkeypatch):
    """The bundled policy replaced by one that writes three solutions: right or wrong, and one that never ends."""
    policy = ScriptedPolicy.replies(["a\nAnswer: 2\n", "b\nAnswer: 3\n", "x" * 100])
    policy.close = lambda: None
    monkeypatch.setattr(bundled, "load", lambda **_: policy)
    return policy


def solutions(run):
    return sorted(read(run / "solutions.jsonl", Solution), key=lambda one: (one.problem_id, one.index))


def sample(problems, out, *options):
    return main(["sample", "--problems", str(problems), "--out", str(out), *options])


def test_a_killed_command_goes_on_to_the_same_solutions(tmp_path, problems):
    """Drawn in two lives of the process, the solutions are those of one life; their costs tell what was in the cache,
    and so differ."""
    out = tmp_path / "run"
    command = [*COMMAND, "sample", "--problems", str(problems), "--n", "4", "--out", str(out), "--seed", "3"]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    file = out / "solutions.jsonl"
    end = time.monotonic() + 120
    while not (file.exists() and file.stat().st_size):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    kept = len(solutions(out))
    assert 0 < kept < 4 * len(PROBLEMS), "the kill came before the first solution or after the last"

    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert f"{4 * len(PROBLEMS)} solutions of {len(PROBLEMS)} problems" in told
    assert f"drawn now: {4 * len(PROBLEMS) - kept};" in told

    async def at_once():
        policy = bundled.load()
        with Run.open(tmp_path / "other", Sampling()) as run:
            drawn = await draw(run, PROBLEMS, policy, 4, Sampling(seed=3))
        policy.close()
        return sorted((one for row in drawn for one in row), key=lambda one: (one.problem_id, one.index))

    def without_cost(them):
        return [replace(one, cost=Cost(generated=one.cost.generated)) for one in them]

    assert without_cost(solutions(out)) == without_cost(asyncio.run(at_once()))


def test_a_run_holds_its_problems_and_says_what_was_cut(tmp_path, problems, scripted, capsys):
    assert sample(problems, tmp_path / "run", "--n", "3", "--max-tokens", "50") == 0
    out = capsys.readouterr().out
    assert f"{3 * len(PROBLEMS)} solutions of {len(PROBLEMS)} problems, {len(PROBLEMS)} of them cut" in out
    assert "solutions/s" in out
    assert "cached" in out
    assert list(read(tmp_path / "run" / "problems.jsonl", Problem)) == PROBLEMS
    assert [one.finish for one in solutions(tmp_path / "run")[:3]] == ["stop", "stop", "length"]
    assert sample(problems, tmp_path / "run", "--n", "3", "--max-tokens", "50") == 0
    assert "drawn now" not in capsys.readouterr().out
    assert len(scripted.calls) == len(PROBLEMS)


def test_problems_may_be_added_but_not_changed(tmp_path, problems, scripted, capsys):
    sample(problems, tmp_path / "run")
    new = Problem("new", "1+1?", "2", "test")
    write(problems, [*PROBLEMS, new])
    assert sample(problems, tmp_path / "run") == 0
    assert len(scripted.calls) == len(PROBLEMS) + 1
    write(problems, [*PROBLEMS, replace(new, gold="3")])
    assert sample(problems, tmp_path / "run") == 2
    assert "'new' is not the one" in capsys.readouterr().err


def test_a_run_of_other_settings_is_refused(tmp_path, problems, scripted, capsys):
    sample(problems, tmp_path / "run")
    assert sample(problems, tmp_path / "run", "--temperature", "0.5") == 2
    assert "sampling.temperature: 1.0 in the run, 0.5 now" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--n", "0"], "cannot draw 0 samples"),
        (["--policy", "http://127.0.0.1:1"], "--model"),
        (["--model", "m"], "--policy URL"),
        (["--policy", "nowhere"], "no such model directory"),
        (["--policy", "http://127.0.0.1:1", "--model", "m", "--prompt", "hello"], "{question}"),
    ],
)
def test_mistakes_are_told(tmp_path, problems, options, words, capsys):
    assert sample(problems, tmp_path / "run", *options) == 2
    assert words in capsys.readouterr().err


@pytest.fixture(scope="module")
def reward(tmp_path_factory):
    """A reward model of the bundled model's size, as `stepmark train` writes it."""
    path = tmp_path_factory.mktemp("reward") / "prm"
    examples = [Example(one, quantities.solve(one), targets=(1.0,) * len(quantities.solve(one))) for one in PROBLEMS]
    train("prm", examples, bundled.PATH, path, Train(marker=bundled.MARKER, epochs=1))
    return path


def score(reward, candidates, out):
    return main(["score", "--reward", str(reward), "--candidates", str(candidates), "--out", str(out)])


def test_what_was_drawn_is_scored_step_by_step_but_for_what_was_cut(tmp_path, problems, scripted, reward, capsys):
    sample(problems, tmp_path / "run", "--n", "3", "--max-tokens", "50")
    assert score(reward, tmp_path / "run", tmp_path / "scores") == 0
    whole = 2 * len(PROBLEMS)
    assert f"{whole} solutions scored, {len(PROBLEMS)} cut" in capsys.readouterr().out
    scores = list(read(tmp_path / "scores" / "scores.jsonl", SolutionScores))
    assert {(one.problem_id, one.index) for one in scores} == {(p.id, i) for p in PROBLEMS for i in (0, 1)}
    assert all(len(one.scores) == 2 and one.cost.scored for one in scores)
    assert score(reward, tmp_path / "run", tmp_path / "scores") == 0
    assert "scored now" not in capsys.readouterr().out


def test_a_pool_and_a_run_of_the_same_solutions_get_the_same_scores(tmp_path, problems, scripted, reward):
    sample(problems, tmp_path / "run", "--n", "2", "--max-tokens", "50")
    rows = [
        {"problem_id": p.id, "question": p.question, "ground_truth": p.gold}
        | {"candidates": [{"steps": ["a", "Answer: 2"], "answer": "2"}, {"steps": ["b", "Answer: 3"], "answer": "3"}]}
        for p in PROBLEMS
    ]
    write(tmp_path / "pool.jsonl", rows)
    score(reward, tmp_path / "run", tmp_path / "one")
    score(reward, tmp_path / "pool.jsonl", tmp_path / "other")

    def scores(run):
        found = read(tmp_path / run / "scores.jsonl", SolutionScores)
        return {(one.problem_id, one.index): pytest.approx(one.scores, abs=1e-5) for one in found}

    assert {key: value.expected for key, value in scores("one").items()} == scores("other")


def test_a_run_without_solutions_cannot_be_scored(tmp_path, reward, capsys):
    assert score(reward, tmp_path, tmp_path / "scores") == 2
    assert "give the directory of a run" in capsys.readouterr().err


def test_greedy_solutions_from_the_command_line_are_graded_as_the_policy_is(tmp_path, problems):
    """The whole path on the real model: easy problems are mostly solved."""
    assert sample(problems, tmp_path / "run", "--temperature", "0") == 0
    easy = {problem.id: problem for problem in PROBLEMS[:6]}
    answers = [(easy[one.problem_id], one.answer) for one in solutions(tmp_path / "run") if one.problem_id in easy]
    assert sum(grade(problem, answer).correct for problem, answer in answers) >= 4
