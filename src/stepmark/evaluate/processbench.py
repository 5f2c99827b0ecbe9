"""ProcessBench (Zheng et al. 2024, arXiv 2412.06559): is the first step scored below a threshold the first wrong one?

The score of a subset is F1, the harmonic mean of two accuracies: on solutions with a wrong step (it is named exactly)
and on those without (none is named). Where both are 0 so is F1; the official script divides by zero there. Intervals
are over problems.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, interval, resample
from stepmark.evaluate.scores import Scores
from stepmark.evaluate.steps import FirstError, first_below, harmonic
from stepmark.types import LabelledSolution

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ProcessBench:
    """Figures of one subset, with the bounds of their intervals."""

    value: FirstError
    low: FirstError
    high: FirstError
    threshold: float
    erroneous: int
    """solutions with a wrong step"""
    correct: int
    """solutions without"""
    unscored: int
    """solutions that the reward model refused: each counts as missed"""


def errors_of(solutions: Sequence[LabelledSolution]) -> list[int | None]:
    """The first wrong step of each solution, from 0; None: no step is wrong."""
    return [next((s for s, rating in enumerate(one.labels.ratings) if rating == -1), None) for one in solutions]


def evaluate(
    solutions: Sequence[LabelledSolution],
    scores: Scores,
    threshold: float,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
) -> ProcessBench:
    """Raises InputError where one of the two kinds of solutions is absent."""
    errors = errors_of(solutions)
    hits = [one is not None and first_below(one, threshold) == error for one, error in zip(scores, errors, strict=True)]
    place = {name: p for p, name in enumerate(dict.fromkeys(one.problem.id for one in solutions))}
    counts_P_4 = np.zeros((len(place), 4))  # erroneous: hits, all; correct: hits, all
    for one, error, hit in zip(solutions, errors, hits, strict=True):
        first = 0 if error is not None else 2
        counts_P_4[place[one.problem.id], first : first + 2] += (hit, 1)
    totals_4 = counts_P_4.sum(axis=0)
    if not totals_4[1] or not totals_4[3]:
        found = f"{totals_4[1]:.0f} solutions with a wrong step and {totals_4[3]:.0f} without"
        raise InputError(found, remedy="F1 needs some of both")
    value_3 = _figures(totals_4[None])[0]
    resampled_B_4 = resample(counts_P_4, bootstrap)
    both_B = (resampled_B_4[:, 1] > 0) & (resampled_B_4[:, 3] > 0)  # without one of the kinds there is no such figure
    resampled_B_3 = _figures(resampled_B_4[both_B]) if both_B.any() else value_3[None]
    low_3, high_3 = interval(value_3, resampled_B_3, bootstrap.level)
    value, low, high = (FirstError(*map(float, one_3)) for one_3 in (value_3, low_3, high_3))
    return ProcessBench(
        value,
        low,
        high,
        threshold,
        int(totals_4[1]),
        int(totals_4[3]),
        sum(one is None for one in scores),
    )


def _figures(counts_B_4: Floats) -> Floats:
    """Accuracy on erroneous and on correct solutions, and F1, which is 0 where both are."""
    a_B, b_B = counts_B_4[:, 0] / counts_B_4[:, 1], counts_B_4[:, 2] / counts_B_4[:, 3]
    return np.stack([a_B, b_B, 2 * a_B * b_B / np.maximum(a_B + b_B, 1e-12)], axis=1)


def tune(solutions: Sequence[LabelledSolution], scores: Scores) -> float:
    """The threshold with the highest F1 on these solutions, the largest of equals. To be used on others: on the same
    ones it flatters.

    A solution counts at the thresholds above the score of its first wrong step and up to the least score before it, so
    the best threshold is one of those upper ends. Raises InputError where one of the two kinds of solutions is absent.
    """
    low, high, wrong = [], [], []
    for one, error in zip(scores, errors_of(solutions), strict=True):
        if one is not None:
            low.append(-np.inf if error is None else one[error])
            high.append(min(one[:error], default=np.inf))
            wrong.append(error is not None)
    low_N, high_N, wrong_N = np.array(low), np.array(high), np.array(wrong, dtype=bool)
    if wrong_N.all() or not wrong_N.any():
        raise InputError("the threshold cannot be tuned", remedy="give solutions with a wrong step and without")
    best, found = -1.0, 0.5
    for threshold in sorted({float(end) for end in high if np.isfinite(end)}):
        hit_N = (low_N < threshold) & (threshold <= high_N)
        a, b = hit_N[wrong_N].sum() / wrong_N.sum(), hit_N[~wrong_N].sum() / (~wrong_N).sum()
        f1 = harmonic(a, b)
        if f1 >= best:
            best, found = f1, threshold
    return found
