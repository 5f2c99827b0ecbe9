"""Whether step scores find the errors: the first wrong step, and whether a score means what it says.

How well scores rank right steps above wrong ones, overall and within a problem, is `stepmark.rewards.auc`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepmark.errors import InputError, ScoreError


@dataclass(frozen=True, slots=True)
class FirstError:
    """ProcessBench's measure (Zheng et al. 2024, arXiv 2412.06559): shares of solutions judged exactly right."""

    erroneous: float
    """of solutions with a wrong step: the first one is named"""
    correct: float
    """of solutions without: no step is named"""
    f1: float
    """harmonic mean of the two, 0 where both are"""


def first_below(scores_S: Sequence[float], threshold: float) -> int | None:
    """The index of the first step whose score is below the threshold; None: no step is."""
    return next((step for step, score in enumerate(scores_S) if score < threshold), None)


def first_error(scores_N_S: Sequence[Sequence[float]], errors_N: Sequence[int | None], threshold: float) -> FirstError:
    """How often the first step below the threshold is the first wrong step, counted from 0 (None: no step is wrong).

    The threshold is not chosen here; chosen on the same solutions, it would flatter. Raises InputError if one of the
    two kinds of solutions is absent, or an error lies past the last step; ScoreError: a score is not finite, or a
    solution has none.
    """
    hits: dict[bool, list[bool]] = {True: [], False: []}
    for solution, (scores_S, error) in enumerate(zip(scores_N_S, errors_N, strict=True)):
        if not scores_S or not np.isfinite(scores_S).all():
            raise ScoreError(f"solution {solution} lacks finite step scores", remedy="score it, or leave it out")
        if error is not None and not 0 <= error < len(scores_S):
            raise InputError(
                f"the first error of solution {solution} is step {error}, and it has {len(scores_S)} steps",
                remedy="count steps from 0, and leave broken rows out",
            )
        hits[error is not None].append(first_below(scores_S, threshold) == error)
    if not hits[True] or not hits[False]:
        raise InputError(
            f"{len(hits[True])} solutions with an error and {len(hits[False])} without",
            remedy="F1 needs some of both",
        )
    erroneous, correct = float(np.mean(hits[True])), float(np.mean(hits[False]))
    return FirstError(erroneous, correct, harmonic(erroneous, correct))


def harmonic(a: float, b: float) -> float:
    """The harmonic mean, 0 where both are."""
    return 2 * a * b / (a + b) if a + b else 0.0


@dataclass(frozen=True, slots=True)
class Bin:
    """Scores in [low, high), the last bin with its upper end."""

    low: float
    high: float
    count: int
    score: float | None
    """mean score; None in an empty bin"""
    right: float | None
    """share of right steps; None in an empty bin"""


@dataclass(frozen=True, slots=True)
class Calibration:
    error: float
    """expected calibration error: the mean over steps of |score - right| of their bin (Guo et al. 2017, arXiv
    1706.04599). Depends on the bins, and says nothing about ranking: the base rate for every step has none"""
    bins: tuple[Bin, ...]


def calibration(
    scores_K: ArrayLike, right_K: ArrayLike, bins: int = 10, times_K: ArrayLike | None = None
) -> Calibration:
    """Reliability of probabilities: steps in `bins` bins of equal width, each with its mean score and share of right
    steps; `times_K` says how often each counts (once by default). Raises ScoreError unless there are scores and all are
    in [0, 1]."""
    scores: NDArray[np.float64] = np.asarray(scores_K, dtype=np.float64)
    right: NDArray[np.float64] = np.asarray(right_K, dtype=np.float64)
    if scores.size == 0 or not ((scores >= 0) & (scores <= 1)).all():
        raise ScoreError("calibration needs scores, all in [0, 1]", remedy="unbounded scores are no probabilities")
    if scores.shape != right.shape:
        raise InputError(f"{scores.size} scores for {right.size} labels", remedy="give one label per score")
    edges_B = np.arange(bins + 1) / bins
    which = np.searchsorted(edges_B[1:-1], scores, side="right")
    times = np.ones(scores.size) if times_K is None else np.asarray(times_K)
    count_B, score_B, right_B = (np.bincount(which, times * values, bins) for values in (1, scores, right))
    return Calibration(
        error=float(np.abs(score_B - right_B).sum() / times.sum()),
        bins=tuple(
            Bin(float(low), float(high), int(n), float(s / n) if n else None, float(r / n) if n else None)
            for low, high, n, s, r in zip(edges_B[:-1], edges_B[1:], count_B, score_B, right_B, strict=True)
        ),
    )
