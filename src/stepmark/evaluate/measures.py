"""All that labelled solutions tell of a reward model's step scores, in one place, with intervals over problems.

Steps count up to and including the first wrong one: after it, nobody says what a right step is. A step is right where
its label is above 0, a neutral one too. Every figure is a function of how often each problem counts: once each for its
value, as often as a resample drew it for its interval. A figure is None where it is not defined: an AUC of right steps
alone, a calibration of scores that are no probabilities.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, Figure, draws, figures
from stepmark.evaluate.scores import Scores
from stepmark.evaluate.steps import Calibration, calibration, first_below, harmonic
from stepmark.rewards.assemble import from_labels
from stepmark.rewards.auc import auc, aucs_within
from stepmark.types import LabelledSolution

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

QUICK = Bootstrap(resamples=1000)
NONE = -1
"""instead of a step: none is wrong, none is named"""


@dataclass(frozen=True, slots=True)
class Position:
    """Right steps at a place of their solutions, counted from 1 (the last entry: that place and later ones)."""

    place: int
    steps: int
    score: Figure
    """mean"""


@dataclass(frozen=True, slots=True)
class Measures:
    solutions: int
    steps: int
    unscored: int
    """solutions that the reward model could not be shown, which no figure is about"""
    aborted: int
    """solutions that were given up, or of a problem that is a bad one, which no figure is about either"""
    prefixes: int
    """of the solutions that are measured: those that go on, which figures about whole solutions leave out"""
    right: Figure | None
    """share of the steps"""
    auc: Figure | None
    within_problem_auc: Figure | None
    """a reward model that knows only how hard a problem is has .5 here"""
    calibration_error: Figure | None
    calibration: Calibration | None
    first_error: Figure | None
    """ProcessBench's F1: the harmonic mean of the following two"""
    erroneous: Figure | None
    """of the solutions with a wrong step: share in which the first step below the threshold is the first wrong one"""
    correct: Figure | None
    """of the solutions without: share in which no step is below it"""
    early: Figure | None
    """of the solutions with a wrong step: share in which an earlier step is named"""
    late: Figure | None
    missed: Figure | None
    """share in which none is named"""
    distance: Figure | None
    """mean distance in steps, either way, where one is named"""
    lowest_last: Figure | None
    """share of the solutions of two or more steps whose lowest score is the last step's: high where a process reward
    model judges outcomes (Zhang et al. 2025, arXiv 2501.07301, section 3.2)"""
    lowest_last_by_chance: Figure | None
    """the mean of 1 / steps, which scores without any order would have"""
    length_correlation: Figure | None
    """rank correlation of the lowest score with the number of steps, over solutions of which all steps are right:
    below 0 where long right solutions are held for worse than short ones"""
    positions: tuple[Position, ...]
    """a reward model without bias has the same mean at every place"""


@dataclass(frozen=True, slots=True)
class _Table:
    """Rated steps (axis K), and whole solutions that are rated up to their first wrong step or to the end (axis N)."""

    problems: int
    aborted: int
    prefixes: int
    problem_K: Ints
    score_K: Floats
    right_K: Bools
    place_K: Ints
    problem_N: Ints
    steps_N: Ints
    lowest_N: Floats
    lowest_last_N: Bools
    error_N: Ints
    """the first wrong step, or NONE"""
    named_N: Ints
    """the first step below the threshold, or NONE"""


def measure(
    solutions: Sequence[LabelledSolution],
    scores: Scores,
    threshold: float = 0.5,
    places: int = 12,
    bootstrap: Bootstrap = QUICK,
) -> Measures:
    """Raises InputError where no rated solution is scored, or the source of the labels is unknown."""
    table = _table(solutions, scores, threshold, places)
    bounded = bool(((table.score_K >= 0) & (table.score_K <= 1)).all())
    aucs_P = aucs_within(table.score_K, table.right_K, table.problem_K, table.problems)
    once_P = np.ones(table.problems, np.int64)
    resampled = [
        _figures(table, times_P, aucs_P, bounded)
        for times_B_P in draws(table.problems, bootstrap)
        for times_P in times_B_P
    ]
    found = figures(_figures(table, once_P, aucs_P, bounded), resampled, bootstrap.level)
    positions = []
    for place in range(1, places + 1):
        if (score := found.pop(f"place {place}", None)) is not None:
            steps = int((table.right_K & (table.place_K == place)).sum())
            positions.append(Position(place, steps, score))
    return Measures(
        solutions=len(table.problem_N),
        steps=len(table.problem_K),
        unscored=sum(one is None for one in scores),
        aborted=table.aborted,
        prefixes=table.prefixes,
        calibration=calibration(table.score_K, table.right_K) if bounded else None,
        positions=tuple(positions),
        **found,
    )


def _table(solutions: Sequence[LabelledSolution], scores: Scores, threshold: float, places: int) -> _Table:
    place_of: dict[str, int] = {}
    steps, whole = [], []
    aborted = prefixes = 0
    for one, found in zip(solutions, scores, strict=True):
        if found is None or set(one.labels.ratings) <= {None}:
            continue
        if one.solution.finish == "abort":
            aborted += 1
            continue
        problem = place_of.setdefault(one.problem.id, len(place_of))
        targets = from_labels(one.labels)
        error = next((s for s, target in enumerate(targets) if target is not None and target <= 0), NONE)
        judged = targets if error == NONE else targets[: error + 1]
        for s, (score, target) in enumerate(zip(found, judged, strict=False)):
            if target is not None:
                steps.append((problem, score, target > 0, min(s + 1, places)))
        prefixes += one.solution.finish != "stop"
        if None not in judged and one.solution.finish == "stop":
            named = first_below(found, threshold)
            last = len(found) > 1 and found[-1] < min(found[:-1])
            whole.append((problem, len(found), min(found), last, error, NONE if named is None else named))
    if not steps:
        raise InputError("no rated solution is scored", remedy="give labels, and scores of the same solutions")
    problem_K, score_K, right_K, place_K = zip(*steps, strict=True)
    problem_N, steps_N, lowest_N, last_N, error_N, named_N = zip(*whole, strict=True) if whole else [()] * 6
    return _Table(
        problems=len(place_of),
        aborted=aborted,
        prefixes=prefixes,
        problem_K=np.array(problem_K, np.int64),
        score_K=np.array(score_K, np.float64),
        right_K=np.array(right_K, np.bool_),
        place_K=np.array(place_K, np.int64),
        problem_N=np.array(problem_N, np.int64),
        steps_N=np.array(steps_N, np.int64),
        lowest_N=np.array(lowest_N, np.float64),
        lowest_last_N=np.array(last_N, np.bool_),
        error_N=np.array(error_N, np.int64),
        named_N=np.array(named_N, np.int64),
    )


def _figures(table: _Table, times_P: Ints, aucs_P: Floats, bounded: bool) -> dict[str, float]:
    """Every figure where problem p counts `times_P[p]` times; NaN where it is not defined."""
    times_K, times_N = times_P[table.problem_K], times_P[table.problem_N]
    wrong_N, named_N = table.error_N != NONE, table.named_N != NONE
    gap_N = table.named_N - table.error_N
    both_N, several_N = wrong_N & named_N, table.steps_N > 1
    known_P = ~np.isnan(aucs_P)
    erroneous = _mean(gap_N == 0, times_N * wrong_N)
    correct = _mean(~named_N, times_N * ~wrong_N)
    pooled = auc(table.score_K, table.right_K, times_K)
    found = {
        "right": _mean(table.right_K, times_K),
        "auc": nan if pooled is None else pooled,
        "within_problem_auc": _mean(aucs_P[known_P], times_P[known_P]),
        "calibration_error": calibration(table.score_K, table.right_K, times_K=times_K).error if bounded else nan,
        "first_error": harmonic(erroneous, correct),
        "erroneous": erroneous,
        "correct": correct,
        "early": _mean(named_N & (gap_N < 0), times_N * wrong_N),
        "late": _mean(gap_N > 0, times_N * wrong_N),
        "missed": _mean(~named_N, times_N * wrong_N),
        "distance": _mean(np.abs(gap_N), times_N * both_N),
        "lowest_last": _mean(table.lowest_last_N, times_N * several_N),
        "lowest_last_by_chance": _mean(1 / np.maximum(table.steps_N, 1), times_N * several_N),
        "length_correlation": _rank_correlation(table.lowest_N, table.steps_N, times_N * ~wrong_N),
    }
    counts = np.bincount(table.place_K, times_K * table.right_K)
    sums = np.bincount(table.place_K, times_K * table.right_K * table.score_K)
    for place in range(1, len(counts)):
        found[f"place {place}"] = float(sums[place] / counts[place]) if counts[place] else nan
    return found


def _mean(values: Floats | Ints | Bools, times: Ints) -> float:
    total = times.sum()
    return float((values * times).sum() / total) if total else nan


def _rank_correlation(one_N: Floats, two_N: Ints, times_N: Ints) -> float:
    """Spearman's: Pearson's of the ranks, equal values with their mean rank. NaN where one of them does not vary."""
    ranks = []
    for values_N in (one_N[times_N > 0], two_N[times_N > 0]):
        _, which_N = np.unique(values_N, return_inverse=True)
        count_U = np.bincount(which_N, times_N[times_N > 0])
        if len(count_U) < 2:
            return nan
        ranks.append((np.cumsum(count_U) - count_U / 2)[which_N])
    (one, both), (_, two) = np.cov(np.stack(ranks), fweights=times_N[times_N > 0])
    return float(both / np.sqrt(one * two))
