"""The published candidates of seven reward models. Values known from elsewhere, and a slow second way to each curve."""

import os
from math import comb
from pathlib import Path

import pytest

from stepmark.evaluate.intervals import Bootstrap
from stepmark.evaluate.pool import Comparison, Scored, compare
from stepmark.evaluate.verdicts import judge
from stepmark.formats.candidates import Candidates, read_candidates, read_step_scores

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data")) / "bon_pool_gsm8k"
pytestmark = pytest.mark.skipif(not DATA.exists(), reason=f"no candidate pool at {DATA}")
NS = (1, 2, 8, 32)


@pytest.fixture(scope="module")
def pool() -> tuple[Candidates, ...]:
    return read_candidates(DATA / "candidates.jsonl.gz")


@pytest.fixture(scope="module")
def scored(pool: tuple[Candidates, ...]) -> list[Scored]:
    files = sorted((DATA / "step_scores").iterdir())
    assert len(files) == 7
    return [
        Scored(path.name.removesuffix(".jsonl.gz"), how, steps)
        for path in files
        for steps in [read_step_scores(path, pool)]
        for how in ("last", "min")
    ]


@pytest.fixture(scope="module")
def comparison(pool: tuple[Candidates, ...], scored: list[Scored]) -> Comparison:
    return compare(judge(pool, "recorded").problems, scored, ns=NS, subsets=20, bootstrap=Bootstrap(resamples=200))


def accuracy(comparison: Comparison, method: str, name: str | None, how: str | None, n: int) -> float:
    return next(
        point.accuracy
        for curve in comparison.curves
        if (curve.method, curve.scores, curve.aggregate) == (method, name, how)
        for point in curve.points
        if point.n == n
    )


@pytest.mark.parametrize(
    ("name", "how", "n", "known"),
    [
        ("qwen_prm", "last", 1, 0.8419),
        ("qwen_prm", "last", 32, 0.9052),
        ("qwen_prm", "min", 32, 0.8882),
        ("skywork_prm", "last", 8, 0.8945),
        ("math_shepherd", "min", 8, 0.8529),
    ],
)
def test_known_values_are_reproduced(comparison: Comparison, name: str, how: str, n: int, known: float) -> None:
    assert round(accuracy(comparison, "best_of_n", name, how, n), 4) == known


def test_best_of_n_equals_a_loop_over_thresholds(
    pool: tuple[Candidates, ...], scored: list[Scored], comparison: Comparison
) -> None:
    """Another way to the same number, with whole binomials: the best of n is at most v in C(#{<= v}, n) subsets, so it
    is v in the difference of two such counts, and is then any of the candidates that score v."""
    for one in scored:
        value_of = {"last": lambda steps: steps[-1], "min": min}[one.aggregate]
        for n in NS:
            total = 0.0
            for problem, steps_N_S in zip(pool, one.steps_P_N_S, strict=True):
                values = [value_of(steps_S) for steps_S in steps_N_S]
                for value in set(values):
                    correct = [c.recorded for c, v in zip(problem.candidates, values, strict=True) if v == value]
                    up_to, below = sum(v <= value for v in values), sum(v < value for v in values)
                    total += (comb(up_to, n) - comb(below, n)) / comb(len(values), n) * sum(correct) / len(correct)
            found = accuracy(comparison, "best_of_n", one.name, one.aggregate, n)
            assert found == pytest.approx(total / len(pool), abs=1e-12)


def test_at_one_candidate_all_methods_are_the_same_and_nothing_beats_the_oracle(comparison: Comparison) -> None:
    first = {round(curve.points[0].accuracy, 12) for curve in comparison.curves}
    assert len(first) == 1
    oracle = next(curve for curve in comparison.curves if curve.method == "oracle")
    for curve in comparison.curves:
        for point, limit in zip(curve.points, oracle.points, strict=True):
            assert point.accuracy <= limit.accuracy + 1e-12


def test_our_grader_agrees_with_the_recorded_labels_on_99_of_100(pool: tuple[Candidates, ...]) -> None:
    """Where it does not, it is the more careful one: it takes no answer for right that the file calls wrong."""
    verdicts = judge(pool, "graded")
    assert sum(one.candidates for one in verdicts.disagreements) < 0.01 * verdicts.recorded
    assert not [one for one in verdicts.disagreements if one.graded]
