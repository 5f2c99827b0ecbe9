"""A run of solutions and a run of their scores are judged as a candidate pool is."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from stepmark.cli.main import main
from stepmark.errors import ScoreError
from stepmark.formats.runs import read_candidates, read_step_scores
from stepmark.records import Run
from stepmark.types import Cost, Problem, Solution, SolutionScores


@dataclass(frozen=True)
class Settings:
    seed: int = 0


def solution(problem: str, index: int, answer: str | None) -> Solution:
    finish = "length" if answer is None else "stop"
    steps = () if answer is None else ("2 + 5 is", answer)
    return Solution(problem, index, steps, answer, finish, cost=Cost(generated=10 + index))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Two problems of three candidates, the last of which was cut; the reward model likes what is right."""
    with Run.open(tmp_path / "drawn", Settings()) as run:
        for p in ("a", "b"):
            run.append("problems", Problem(p, "2 + 5?", "7", source="test"))
            for index, answer in ((1, "7"), (0, "8"), (2, None)):
                run.append("solutions", solution(p, index, answer))
    with Run.open(tmp_path / "judge", Settings()) as run:
        for p in ("a", "b"):
            run.append("scores", SolutionScores(p, 1, (0.9, 0.8), Cost()))
            run.append("scores", SolutionScores(p, 0, (0.9, 0.1), Cost()))
    return tmp_path


def test_best_of_n_on_runs(runs: Path) -> None:
    """Of three candidates the cut one is never chosen; of one, it is a third of the time, and wrong."""
    words = ["--candidates", str(runs / "drawn"), "--scores", str(runs / "judge"), "--json", str(runs / "out.json")]
    assert main(["evaluate", "pool", *words, "--n", "1,3", "--resamples", "50", "--html", str(runs / "page")]) == 0
    curves = json.loads((runs / "out.json").read_text())["curves"]
    best = {row["n"]: row["accuracy"] for row in curves if row["method"] == "best_of_n"}
    assert best == {1: pytest.approx(1 / 3), 3: 1.0}
    assert {row["scores"] for row in curves} == {None, "judge"}


def test_candidates_are_in_the_order_of_their_index_and_keep_their_cost(runs: Path) -> None:
    pool = read_candidates(runs / "drawn")
    assert [[c.answer for c in one.candidates] for one in pool] == [["8", "7", None]] * 2
    assert [c.tokens for c in pool[0].candidates] == [10, 11, 12]
    assert read_step_scores(runs / "judge", pool)[0] == ((0.9, 0.1), (0.9, 0.8), None)


def test_an_answer_without_scores_is_refused(runs: Path) -> None:
    pool = read_candidates(runs / "drawn")
    with Run.open(runs / "half", Settings()) as run:
        run.append("scores", SolutionScores("a", 0, (0.9, 0.1), Cost()))
    with pytest.raises(ScoreError, match="3 candidates with an answer have no scores"):
        read_step_scores(runs / "half", pool)


def test_scores_of_other_candidates_are_refused(runs: Path) -> None:
    pool = read_candidates(runs / "drawn")
    with Run.open(runs / "other", Settings()) as run:
        run.append("scores", SolutionScores("a", 0, (0.9, 0.1, 0.2), Cost()))
    with pytest.raises(ScoreError, match="no candidate 0 of 3 steps"):
        read_step_scores(runs / "other", pool)
