"""Measures of step scores, by hand on a few solutions, and through the front door."""

import json
from pathlib import Path

import pytest

from stepmark.cli import main
from stepmark.evaluate.measures import measure
from stepmark.evaluate.sensitivity import probe
from stepmark.formats import labelled
from stepmark.formats.labelled import Builder, Lost
from stepmark.types import LabelledSolution, Problem

build = Builder("test", "human")


def solution(question: str, ratings: list[float | None]) -> LabelledSolution:
    return build(question, [f"step {s} = {s}" for s in range(len(ratings))], ratings, extra={})


SOLUTIONS = [
    solution("Does Ana have as much as Ben?", [1, 1, -1, -1]),
    solution("Does Ana have as much as Ben?", [1, 0]),
    solution("other", [1, 1, 1]),
    solution("other", [-1, None]),
]
SCORES = [(0.9, 0.4, 0.3, 0.9), (0.8, 0.7), (0.6, 0.5, 0.9), (0.6, 0.1)]


def test_each_measure_by_hand() -> None:
    """Right: .9 .4 .8 .7 .6 .5 .9; wrong: .3 .6. Of the 14 pairs 7 are ordered for .3, and for .6 four and a tie."""
    found = measure(SOLUTIONS, SCORES, threshold=0.5)
    assert (found.solutions, found.steps, found.right) == (4, 9, pytest.approx(7 / 9))
    assert found.auc == pytest.approx((7 + 4 + 0.5) / 14)
    assert found.within_problem_auc == pytest.approx((1 + (1 + 0.5) / 3) / 2)
    assert found.first_error is not None
    assert (found.first_error.erroneous, found.first_error.correct) == (0, 1)
    assert found.distance is not None
    assert (found.distance.early, found.distance.late, found.distance.exact) == (0.5, 0.5, 0)
    assert found.distance.steps == 1
    assert found.lowest_last == 0.5  # of the second and the last
    assert found.lowest_last_by_chance == pytest.approx((1 / 4 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert [(p.place, p.steps) for p in found.positions] == [(1, 3), (2, 3), (3, 1)]
    assert found.positions[1].score == pytest.approx((0.4 + 0.7 + 0.5) / 3)
    assert found.length_correlation == pytest.approx(-1)
    assert found.calibration is not None


def test_unbounded_scores_and_refused_solutions() -> None:
    found = measure(SOLUTIONS, [None, *((2.0,) * len(one) for one in SCORES[1:])])
    assert (found.calibration, found.unscored, found.solutions) == (None, 1, 3)


def test_a_sign_or_a_name_can_be_changed_too() -> None:
    problem = Problem("p", "Today Ana and Ben eat.", "3", "test")
    steps = ("Ana has 4 - 1 = 3",)
    sign = probe(problem, steps, [True], change="sign")
    assert sign is not None
    assert sign.changed in {f"Ana has 4 {s} 1 = 3" for s in "+*/"}
    name = probe(problem, steps, [True], change="name")
    assert name is not None
    assert name.changed == "Ben has 4 - 1 = 3"
    assert probe(problem, ("3 = 3",), [True], change="sign") is None
    assert probe(problem, ("3 = 3",), [True], change="name") is None


def test_the_verb_prints_json_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.write(tmp_path / "data.jsonl", SOLUTIONS, Lost())
    lines = [json.dumps({"row": r, "step_scores": one}) for r, one in enumerate(SCORES)]
    (tmp_path / "scores.jsonl").write_text("\n".join(lines))
    files = ["--data", str(tmp_path / "data.jsonl"), "--scores", str(tmp_path / "scores.jsonl")]
    out = ["--json", str(tmp_path / "out.json"), "--html", str(tmp_path / "page")]
    assert main(["evaluate", "steps", *files, *out]) == 0
    assert "0.821" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["auc"] == pytest.approx(11.5 / 14)
    assert "0.821" in (tmp_path / "page" / "report.html").read_text()
