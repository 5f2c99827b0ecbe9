"""Measures of step scores, by hand on a few solutions, and through the front door."""

import asyncio
import dataclasses
import json
import random
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from stepmark.cli import main
from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, Figure, draws
from stepmark.evaluate.measures import Measures, measure
from stepmark.evaluate.sensitivity import drop, fall, probe
from stepmark.formats import labelled
from stepmark.formats.labelled import Builder, Lost
from stepmark.rewards.base import checked
from stepmark.types import Cost, LabelledSolution, Prefix, Problem, StepScores

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


def value(one: Figure | None) -> float:
    assert one is not None
    assert one.low <= one.value <= one.high
    return one.value


def test_each_measure_by_hand() -> None:
    """Right: .9 .4 .8 .7 .6 .5 .9; wrong: .3 .6. Of the 14 pairs 7 are ordered for .3, and for .6 four and a tie."""
    found = measure(SOLUTIONS, SCORES, threshold=0.5)
    assert (found.solutions, found.steps, value(found.right)) == (4, 9, pytest.approx(7 / 9))
    assert value(found.auc) == pytest.approx((7 + 4 + 0.5) / 14)
    assert value(found.within_problem_auc) == pytest.approx((1 + (1 + 0.5) / 3) / 2)
    assert (value(found.erroneous), value(found.correct), value(found.first_error)) == (0, 1, 0)
    assert (value(found.early), value(found.late), value(found.missed)) == (0.5, 0.5, 0)
    assert value(found.distance) == 1
    assert value(found.lowest_last) == 0.5  # of the second and the last
    assert value(found.lowest_last_by_chance) == pytest.approx((1 / 4 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert [(p.place, p.steps) for p in found.positions] == [(1, 3), (2, 3), (3, 1)]
    assert value(found.positions[1].score) == pytest.approx((0.4 + 0.7 + 0.5) / 3)
    assert value(found.length_correlation) == pytest.approx(-1)
    assert found.calibration is not None
    assert value(found.calibration_error) == pytest.approx(found.calibration.error)


def test_prefixes_are_no_solutions_and_given_up_ones_nothing() -> None:
    """PRM800K's alternatives are prefixes whose last step alone is rated; its bad problems are rated too."""
    alternative = build("other", ["a"], [1], finish="step", extra={})
    given_up = build("other", ["a", "b"], [1, -1], finish="abort", extra={})
    found = measure([*SOLUTIONS, alternative, given_up], [*SCORES, (0.9,), (0.9, 0.9)], threshold=0.5)
    assert (found.solutions, found.prefixes, found.aborted, found.steps) == (4, 1, 1, 10)
    assert value(found.erroneous) == value(measure(SOLUTIONS, SCORES, threshold=0.5).erroneous)


def test_unbounded_scores_and_refused_solutions() -> None:
    found = measure(SOLUTIONS, [None, *((2.0,) * len(one) for one in SCORES[1:])])
    assert (found.calibration, found.calibration_error, found.unscored, found.solutions) == (None, None, 1, 3)


def test_intervals_are_those_of_problems_that_are_drawn_and_measured_again() -> None:
    """Each resample, written out: the problems that it drew, as often as it drew them, each copy a problem of its own,
    measured like any data. Its quantiles are the bounds, widened where need be to hold the value."""
    rng = random.Random(0)
    solutions, scores = [], []
    for number in range(30):
        ratings = [rng.choice([1, 1, 1, -1]) for _ in range(rng.randint(1, 5))]
        solutions.append(solution(f"question {number % 12}", ratings))
        scores.append(tuple(round(rng.random(), 1) for _ in ratings))
    bootstrap = Bootstrap(resamples=40, seed=3)
    names = list(dict.fromkeys(one.problem.id for one in solutions))
    again: dict[str, list[float]] = defaultdict(list)
    for times in np.concatenate(list(draws(len(names), bootstrap))):
        drawn, known = [], []
        for name, count in zip(names, times, strict=True):
            for copy in range(count):
                for one, found in zip(solutions, scores, strict=True):
                    if one.problem.id == name:
                        other = dataclasses.replace(one.problem, id=f"{name} {copy}")
                        drawn.append(dataclasses.replace(one, problem=other))
                        known.append(found)
        for name, figure in figures_of(measure(drawn, known, bootstrap=Bootstrap(resamples=1))).items():
            again[name].append(figure.value)
    for name, figure in figures_of(measure(solutions, scores, bootstrap=bootstrap)).items():
        low, high = np.quantile(again[name], [0.025, 0.975])
        assert (figure.low, figure.high) == pytest.approx((min(low, figure.value), max(high, figure.value))), name


def figures_of(found: Measures) -> dict[str, Figure]:
    named = {name: getattr(found, name) for name in Measures.__dataclass_fields__}
    named |= {f"place {position.place}": position.score for position in found.positions}
    return {name: one for name, one in named.items() if isinstance(one, Figure)}


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


class Nine:
    """Scores a step by the share of nines among its letters."""

    async def score(self, prefix: Prefix) -> StepScores:
        return checked(prefix, [step.count("9") / len(step) for step in prefix.steps], Cost())


def test_the_fall_is_a_mean_over_probes_with_an_interval_over_problems() -> None:
    steps = [("p", "99"), ("p", "9"), ("q", "8888")]
    probes = [probe(Problem(name, "?", "1", "test"), (step,), [True]) for name, step in steps]
    drops = [asyncio.run(drop(Nine(), one)) for one in probes if one is not None]
    found = fall(drops, Bootstrap(resamples=500))
    assert found.value == pytest.approx(sum(one.value for one in drops) / 3)
    alone = [one.value for one in drops]
    assert (found.low, found.high) == (pytest.approx(alone[2]), pytest.approx((alone[0] + alone[1]) / 2))
    with pytest.raises(InputError, match="no problems"):
        fall([], Bootstrap())


def test_the_verb_tells_the_gain_over_majority_on_a_pool(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """By hand: majority finds the wrong 8 of both problems, the best-scored candidate is right in the first alone."""
    labelled.write(tmp_path / "data.jsonl", SOLUTIONS, Lost())
    pool = [
        {
            "problem_id": name,
            "question": "?",
            "ground_truth": "7",
            "candidates": [{"steps": ["a"], "answer": answer} for answer in ("8", "8", "7")],
        }
        for name in ("p", "q")
    ]
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(one) + "\n" for one in pool))
    best = {"p": 2, "q": 0}
    lines = [
        {"problem_id": name, "candidate_index": i, "step_scores": [0.9 if i == best[name] else 0.1]}
        for name in best
        for i in range(3)
    ]
    (tmp_path / "scores.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    words = ["evaluate", "steps", "--data", str(tmp_path / "data.jsonl"), "--trivial", "random"]
    words += ["--resamples", "50", "--json", str(tmp_path / "out.json"), "--pool", str(tmp_path / "pool.jsonl")]
    assert main(words) == 2
    assert "--pool-scores" in capsys.readouterr().err
    assert main([*words, "--pool-scores", str(tmp_path / "scores.jsonl")]) == 0
    assert "best-of-n of 3 minus majority (last)" in capsys.readouterr().out
    gains = json.loads((tmp_path / "out.json").read_text())["gain_over_majority"]
    assert [(one["method"], one["difference"]) for one in gains] == [("best_of_n", 0.5), ("weighted_vote", 0.5)]


def test_the_verb_prints_json_and_a_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labelled.write(tmp_path / "data.jsonl", SOLUTIONS, Lost())
    lines = [json.dumps({"row": r, "step_scores": one}) for r, one in enumerate(SCORES)]
    (tmp_path / "scores.jsonl").write_text("\n".join(lines))
    files = ["--data", str(tmp_path / "data.jsonl"), "--scores", str(tmp_path / "scores.jsonl")]
    out = ["--json", str(tmp_path / "out.json"), "--html", str(tmp_path / "page")]
    assert main(["evaluate", "steps", *files, *out]) == 0
    assert "0.821" in capsys.readouterr().out
    assert json.loads((tmp_path / "out.json").read_text())["auc"]["value"] == pytest.approx(11.5 / 14)
    assert "0.821" in (tmp_path / "page" / "report.html").read_text()
