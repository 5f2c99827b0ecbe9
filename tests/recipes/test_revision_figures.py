"""Whether a policy revises, told from runs."""

import asyncio
from pathlib import Path

import pytest

from recipes.revision_figures import RevisionFigures, along, chains, main
from stepmark.errors import InputError
from stepmark.policies.base import ScriptedPolicy
from stepmark.problems import record
from stepmark.records import Run
from stepmark.rewards.base import RewardModel
from stepmark.search.parallel import Parallel
from stepmark.search.revise import Revise
from stepmark.search.settings import Settings
from stepmark.search.solve import Searches, Setup, read_searches, solve
from stepmark.types import Cost, Prefix, Problem, StepScores

PROBLEMS = [Problem(f"p{i}", f"Question {i}?", "1", "test") for i in range(4)]


class LikesTwo(RewardModel):
    """Likes answer 2, which is wrong, best."""

    async def score(self, prefix: Prefix) -> StepScores:
        return StepScores(tuple(0.9 if step.endswith("2") else 0.1 for step in prefix.steps), Cost())


def answers(prefix: Prefix, index: int, seed: int) -> str:
    """The attempts of a chain: 0, 1 (right), 2, 1, 1, ..., as long as its context reaches."""
    seen = prefix.problem.question.count("Attempt:")
    return f"Answer: {(0, 1, 2, 1, 1, 1, 1)[seen]}\n"


def search(path: Path, settings: Settings, strategy: str = "revise") -> Searches:
    setup = Setup(strategy, settings, {"name": "scripted"}, {"name": "likes two"})
    with Run.open(path, setup, compressed=True) as run:
        record(run, PROBLEMS)
        asyncio.run(solve(run, PROBLEMS, ScriptedPolicy(answers), LikesTwo(), setup))
    return read_searches(path)


def test_chains_are_the_attempts_in_their_order(tmp_path: Path):
    run = search(tmp_path / "a", Revise(n=8, chains=2, context=6))
    assert chains(run.problems[0], run.results[0]) == [[False, True, False, True]] * 2


def test_the_table_counts_what_follows_right_and_wrong_attempts(tmp_path: Path):
    rows = along(search(tmp_path / "a", Revise(n=8, chains=2, context=6)), 8)
    told = [row.replace("-", "0.0 [none, none]").split() for row in rows]
    assert [tuple(float(row[i]) for i in (1, 4, 7)) for row in told] == [
        (0.0, 0.0, 100.0),
        (100.0, 100.0, 0.0),
        (0.0, 0.0, 100.0),
        (100.0, 0.0, 0.0),
    ]


def test_each_choice_is_replayed_and_compared_with_the_most_chains(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The reward model takes answer 2 wherever it is; one chain has a right majority, five chains no right answer."""
    search(tmp_path / "one", Revise(n=5, chains=1, context=6))
    search(tmp_path / "five", Revise(n=5, chains=5, context=6))
    main(RevisionFigures((tmp_path / "one", tmp_path / "five")))
    rows = {tuple(line.split()[:2]): line for line in capsys.readouterr().out.splitlines() if line}
    assert rows["majority", "1"].split()[2] == "100.0"
    assert "+100.0 [+100.0, +100.0]" in rows["majority", "1"]
    assert rows["majority", "5"].split()[2] == rows["best", "1"].split()[2] == "0.0"


def test_runs_that_differ_in_more_than_their_chains_are_refused(tmp_path: Path):
    search(tmp_path / "one", Revise(n=4, chains=1))
    search(tmp_path / "other", Revise(n=4, chains=2, temperature=0.5))
    search(tmp_path / "parallel", Parallel(n=4), "parallel")
    with pytest.raises(InputError, match="in more than its chains"):
        main(RevisionFigures((tmp_path / "one", tmp_path / "other")))
    with pytest.raises(InputError, match="has no chains"):
        main(RevisionFigures((tmp_path / "one", tmp_path / "parallel")))
