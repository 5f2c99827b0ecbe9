"""ProcessBench and PRMBench on their real files: what trivial predictors earn is counted from the raw rows by hand."""

import asyncio
import gzip
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepmark.cli import main
from stepmark.errors import InputError, ScoreError, TooLongError, UnreadableError
from stepmark.evaluate import prmbench, processbench
from stepmark.evaluate.intervals import Bootstrap, Figure
from stepmark.evaluate.scores import read_scores, score, trivial, write_scores
from stepmark.evaluate.steps import first_error
from stepmark.formats import prmbench as prmbench_file
from stepmark.formats import processbench as processbench_file
from stepmark.formats.labelled import Lost
from stepmark.rewards.base import checked
from stepmark.types import Cost, LabelledSolution, Problem, Solution, StepLabels

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data"))
real = pytest.mark.skipif(not DATA.exists(), reason=f"no published data at {DATA}")
GSM8K, MATH = DATA / "processbench/gsm8k.jsonl.gz", DATA / "processbench/math.jsonl.gz"
TEST_P1, MULTI = DATA / "prmbench/test_p1.jsonl.gz", DATA / "prmbench/multi_solutions.jsonl.gz"
QUICK = Bootstrap(resamples=200)


def rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(path.read_bytes()).splitlines()]


def process_bench(path: Path) -> list[LabelledSolution]:
    return list(processbench_file.read(path, Lost()))


def prm_bench(path: Path) -> list[LabelledSolution]:
    return list(prmbench_file.read(path, Lost()))


@real
@pytest.mark.parametrize(("path", "wrong", "right", "first"), [(GSM8K, 207, 193, 37), (MATH, 594, 406, 115)])
def test_trivial_predictors_on_processbench(path: Path, wrong: int, right: int, first: int) -> None:
    """`always_right` names no step: no error found, every right solution left alone. `first_wrong` finds just the
    errors in first steps. Either way F1 is 0, where the official script would divide by zero if both were."""
    solutions = process_bench(path)
    labels = [row["label"] for row in rows(path)]
    assert [sum(label >= 0 for label in labels), sum(label < 0 for label in labels)] == [wrong, right]
    result = processbench.evaluate(solutions, trivial("always_right", solutions), 0.5, QUICK)
    assert (result.value.erroneous, result.value.correct, result.value.f1) == (0, 1, 0)
    result = processbench.evaluate(solutions, trivial("first_wrong", solutions), 0.5, QUICK)
    assert (result.value.erroneous, result.value.correct) == (pytest.approx(first / wrong), 0)
    assert result.value.f1 == 0
    assert (result.erroneous, result.correct, result.unscored) == (wrong, right, 0)


@real
def test_random_scores_earn_what_chance_gives() -> None:
    """A step is below .5 by a coin: error e is named with chance 2^-(e+1), none of S steps with 2^-S. The mean over 40
    seeds has a standard error below .005."""
    solutions = process_bench(GSM8K)
    data = rows(GSM8K)
    found = [
        processbench.evaluate(solutions, trivial("random", solutions, seed), 0.5, Bootstrap(resamples=2)).value
        for seed in range(40)
    ]
    erroneous = np.mean([0.5 ** (row["label"] + 1) for row in data if row["label"] >= 0])
    correct = np.mean([0.5 ** len(row["steps"]) for row in data if row["label"] < 0])
    assert np.mean([one.erroneous for one in found]) == pytest.approx(erroneous, abs=0.02)
    assert np.mean([one.correct for one in found]) == pytest.approx(correct, abs=0.02)


@real
def test_processbench_is_first_error_and_its_interval_holds_it() -> None:
    solutions = process_bench(GSM8K)
    scores = trivial("random", solutions, 3)
    result = processbench.evaluate(solutions, scores, 0.2, QUICK)
    other = first_error(scores, processbench.errors_of(solutions), 0.2)
    for name in ("erroneous", "correct", "f1"):
        assert getattr(result.value, name) == pytest.approx(getattr(other, name))
        assert getattr(result.low, name) <= getattr(result.value, name) <= getattr(result.high, name)


@real
def test_the_tuned_threshold_is_the_best_of_all() -> None:
    """Of every score as a threshold, one by one, none has a higher F1."""
    solutions = process_bench(GSM8K)[::7]
    scores = trivial("random", solutions, 1)
    errors = processbench.errors_of(solutions)
    best = max(first_error(scores, errors, t).f1 for t in {s for one in scores for s in one} | {0.0})
    assert first_error(scores, errors, processbench.tune(solutions, scores)).f1 == pytest.approx(best)


def by_hand(data: list[dict[str, Any]], predicted_wrong: Any) -> tuple[float | None, float | None]:
    """F1 of right and of wrong steps, from the raw rows."""
    counts = {(truth, said): 0 for truth in (True, False) for said in (True, False)}
    for row in data:
        for number in range(1, len(row["modified_process"]) + 1):
            counts[number in row["error_steps"], predicted_wrong(number)] += 1
    mistakes = counts[True, False] + counts[False, True]
    right, wrong = 2 * counts[False, False], 2 * counts[True, True]
    return right / (right + mistakes) if right + mistakes else None, wrong / (
        wrong + mistakes
    ) if wrong + mistakes else None


@real
@pytest.mark.parametrize(("how", "said"), [("always_right", lambda n: False), ("first_wrong", lambda n: n == 1)])
def test_trivial_predictors_on_prmbench(how: Any, said: Any) -> None:
    data = rows(TEST_P1)
    solutions = prm_bench(TEST_P1)
    result = prmbench.evaluate(solutions, trivial(how, solutions), 0.5, QUICK)
    for name, one in [(None, result.overall), *result.classes.items()]:
        f1, negative = by_hand([row for row in data if name in (None, row["classification"])], said)
        assert f1 is not None
        assert one.f1 is not None
        assert one.negative_f1 is not None
        assert one.score is not None
        assert (one.f1.value, one.negative_f1.value) == (pytest.approx(f1), pytest.approx(negative))
        assert one.score.value == pytest.approx((f1 + (negative or 0)) / 2)
        assert one.score.low <= one.score.value <= one.score.high
    assert (result.overall.solutions, result.overall.steps, result.overall.wrong) == (718, 10822, 1649)
    assert result.groups["simplicity"] is not None
    assert result.groups["simplicity"].value == pytest.approx(
        np.mean([one.score.value for name in prmbench.REDUNDANT if (one := result.classes[name]).score])
    )
    assert result.groups["sensitivity"] is None  # multi_solutions is another file


@real
def test_every_part_of_prmbench_from_the_raw_rows() -> None:
    """Accuracies, first errors and similarity as the official script defines them, counted row by row."""
    data = rows(TEST_P1)
    solutions = prm_bench(TEST_P1)
    scores = trivial("random", solutions, 5)
    originals = prmbench.untouched(solutions)
    first = [row for row in data if row["classification"] == "redundency"]
    assert [one.solution.steps for one in originals] == [tuple(row["original_process"]) for row in first]
    plain = trivial("random", originals, 6)
    untouched = {row["idx"]: np.mean([s >= 0.5 for s in one]) for row, one in zip(first, plain, strict=True)}
    result = prmbench.evaluate(solutions, scores, 0.5, QUICK, originals=plain)
    for name, found in [(None, result.overall), *result.classes.items()]:
        right, wrong, errors, distances = [], [], [], []
        for row, one in zip(data, scores, strict=True):
            if name in (None, row["classification"]):
                said = [score >= 0.5 for score in one]
                inside = {n for n in row["error_steps"] if n <= len(said)}
                right += [ok for n, ok in enumerate(said, 1) if n not in inside]
                wrong += [not ok for n, ok in enumerate(said, 1) if n in inside]
                errors += [not said[min(inside) - 1]] if inside else []
                distances += [abs(np.mean(said) - untouched[row["idx"]])] if row["idx"] in untouched else []
        expected = [np.mean(one) for one in (right, wrong, [*right, *wrong], errors, distances)]
        told = (found.right_accuracy, found.wrong_accuracy, found.accuracy, found.first_error, found.similarity)
        assert [one and one.value for one in told] == pytest.approx(expected)
        assert all(one is not None and one.low <= one.value <= one.high for one in told)


@real
def test_redundancy_judges_its_classes_alone() -> None:
    """As ReasonEval is judged: of the two classes of simplicity a step is wrong where it is redundant."""
    solutions = prm_bench(TEST_P1)
    valid = trivial("always_right", solutions)
    redundant = [tuple(0.2 if rating == -1 else 0.1 for rating in one.labels.ratings) for one in solutions]
    plain = prmbench.evaluate(solutions, valid, 0.5, QUICK)
    result = prmbench.evaluate(solutions, valid, 0.5, QUICK, redundancy=redundant, redundancy_threshold=0.15)
    for name, one in result.classes.items():
        if name in prmbench.REDUNDANT:
            assert one.score is not None
            assert one.score.value == 1
        else:
            assert one == plain.classes[name]


@real
def test_a_repeated_row_counts_once() -> None:
    """The published files repeat five solutions of a class, which the official script counts once."""
    solutions = prm_bench(TEST_P1)
    scores = trivial("random", solutions, 5)
    result = prmbench.evaluate([*solutions, solutions[0]], [*scores, scores[1]], 0.5, QUICK)
    assert result.repeated == 1
    assert result.overall == prmbench.evaluate(solutions, scores, 0.5, QUICK).overall


@real
def test_solutions_without_a_wrong_step_have_one_f1() -> None:
    """There is no wrong step, and none is named: the negative F1 is 0/0, which is no number and no zero."""
    solutions = prm_bench(MULTI)
    result = prmbench.evaluate(solutions, trivial("always_right", solutions), 0.5, QUICK)
    [one] = result.classes.values()
    assert (one.f1, one.negative_f1, one.score, one.first_error) == (Figure(1, 1, 1), None, Figure(1, 1, 1), None)
    assert result.overall.score is None


@real
def test_a_missing_row_is_an_error_and_never_a_score(tmp_path: Path) -> None:
    solutions = prm_bench(TEST_P1)
    lines = [{"row": r, "step_scores": list(one)} for r, one in enumerate(trivial("random", solutions))]
    for broken, says in (
        (lines[:-1], "1 of 718 rows have no scores, the first is row 717"),
        ([*lines, lines[0]], "row 0 is scored again"),
        ([{**lines[0], "step_scores": [1.0]}, *lines[1:]], "but 1 scores"),
        ([*lines[:-1], {**lines[-1], "row": 718}], "no row 718"),
    ):
        (tmp_path / "s.jsonl").write_text("".join(json.dumps(line) + "\n" for line in broken))
        with pytest.raises(ScoreError, match=says):
            read_scores(tmp_path / "s.jsonl", solutions)


SOLUTION = LabelledSolution(
    Problem("p", "?", "1", "toy"), Solution("p", 0, ("a", "b"), "1", "stop"), StepLabels("p", 0, (1, -1), "human"), {}
)


class Short:
    """Reads two steps at most."""

    async def score(self, prefix: Any) -> Any:
        if len(prefix.steps) > 2:
            raise TooLongError("too long")
        return checked(prefix, [1.0] * len(prefix.steps), Cost())


@real
def test_what_cannot_be_scored_counts_as_missed_and_is_told() -> None:
    solutions = process_bench(GSM8K)
    result = processbench.evaluate(solutions, asyncio.run(score(Short(), solutions)), 0.5, QUICK)
    data = rows(GSM8K)
    kept = sum(len(row["steps"]) <= 2 for row in data if row["label"] < 0)
    assert result.value.correct == pytest.approx(kept / 193)
    assert result.unscored == sum(len(row["steps"]) > 2 for row in data)


def test_a_reward_model_that_can_be_shown_nothing_has_no_figures() -> None:
    """It was a result once: F1 0 of a model that was read as another kind."""

    def raising(error: InputError) -> Any:
        class Refusing:
            async def score(self, prefix: Any) -> Any:
                raise error

        return Refusing()

    with pytest.raises(InputError, match="no solution could be scored; the first: blank"):
        asyncio.run(score(raising(UnreadableError("blank")), [SOLUTION]))
    with pytest.raises(InputError, match="name another family"):
        asyncio.run(score(raising(InputError("merged", remedy="name another family")), [SOLUTION]))


def test_scores_that_are_kept_are_read_again(tmp_path: Path) -> None:
    write_scores(tmp_path / "s.jsonl", [(0.25, 1.0), None])
    assert read_scores(tmp_path / "s.jsonl", [SOLUTION, SOLUTION]) == [(0.25, 1.0), None]


@real
def test_the_verbs_print_and_write_their_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.json"
    quick = ["--resamples", "50", "--json", str(out), "--html", str(tmp_path / "page")]
    assert main(["evaluate", "prmbench", "--data", str(TEST_P1), "--trivial", "always_right", *quick]) == 0
    assert "26 numbers of error steps past the last step, not used" in capsys.readouterr().out
    told = json.loads(out.read_text())["overall"]
    assert (told["negative_f1"]["value"], told["similarity"]["value"]) == (0, 0)
    assert f"PRMScore is {100 * told['score']['value']:.1f}" in (tmp_path / "page" / "report.html").read_text()
    tuned = ["--trivial", "random", "--tune-data", str(MATH)]
    assert main(["evaluate", "processbench", "--data", str(GSM8K), *tuned, *quick]) == 0
    assert "tuned on math.jsonl.gz" in capsys.readouterr().out
    assert json.loads(out.read_text())["threshold_is"] == "tuned on math.jsonl.gz"
    assert "tuned on math.jsonl.gz" in (tmp_path / "page" / "report.html").read_text()
    assert (
        main(["evaluate", "processbench", "--data", str(GSM8K), "--trivial", "random", "--tune-data", str(GSM8K)]) == 2
    )
    assert "tune on another subset" in capsys.readouterr().err
    assert main(["evaluate", "processbench", "--data", str(GSM8K)]) == 2
    assert "one of --scores, --reward and --trivial" in capsys.readouterr().err


def test_a_resample_without_right_solutions_has_no_accuracy_on_them() -> None:
    """Of two problems every second resample has but one; taken for 0, the interval of a perfect figure began there."""
    wrong = replace(
        SOLUTION,
        problem=Problem("q", "?", "1", "toy"),
        solution=replace(SOLUTION.solution, problem_id="q"),
        labels=StepLabels("q", 0, (1, 1), "human"),
    )
    found = processbench.evaluate([SOLUTION, wrong], [(1.0, 0.0), (1.0, 1.0)], 0.5, QUICK)
    assert (found.value.f1, found.low.f1, found.low.correct) == (1, 1, 1)
