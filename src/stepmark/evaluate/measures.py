"""All that labelled solutions tell of a reward model's step scores, in one place.

Steps count up to and including the first wrong one: after it, nobody says what a right step is. A step is right where
its label is above 0, a neutral one too.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from stepmark.errors import InputError
from stepmark.evaluate.scores import Scores
from stepmark.evaluate.steps import Calibration, FirstError, calibration, first_below, first_error
from stepmark.rewards.assemble import from_labels
from stepmark.rewards.auc import auc, within_problem_auc
from stepmark.types import LabelledSolution


@dataclass(frozen=True, slots=True)
class Distance:
    """Where the first step below the threshold lies, of the solutions with a wrong step."""

    exact: float
    """share in which it is the first wrong one"""
    early: float
    late: float
    missed: float
    """share in which no step is below the threshold"""
    steps: float | None
    """mean distance in steps, either way, where one is named"""


@dataclass(frozen=True, slots=True)
class Position:
    """Right steps at a place of their solutions, counted from 1 (the last entry: that place and later ones)."""

    place: int
    steps: int
    score: float
    """mean"""


@dataclass(frozen=True, slots=True)
class Measures:
    solutions: int
    steps: int
    right: float
    """share of the steps"""
    auc: float | None
    within_problem_auc: float | None
    """a reward model that knows only how hard a problem is has .5 here"""
    calibration: Calibration | None
    """None: the scores are no probabilities"""
    first_error: FirstError | None
    """None: there are solutions with a wrong step alone, or without alone"""
    distance: Distance | None
    lowest_last: float
    """share of the solutions of two or more steps whose lowest score is the last step's: high where a process reward
    model judges outcomes (Zhang et al. 2025, arXiv 2501.07301, section 3.2)"""
    lowest_last_by_chance: float
    """the mean of 1 / steps, which scores without any order would have"""
    positions: tuple[Position, ...]
    """a reward model without bias has the same mean at every place"""
    length_correlation: float | None
    """rank correlation of the lowest score with the number of steps, over solutions of which all steps are right:
    below 0 where long right solutions are held for worse than short ones"""
    unscored: int
    """solutions that the reward model refused, which no figure is about"""


def measure(
    solutions: Sequence[LabelledSolution], scores: Scores, threshold: float = 0.5, places: int = 12
) -> Measures:
    """Raises InputError where no rated solution is scored, or the source of the labels is unknown."""
    step_scores: list[float] = []
    right: list[bool] = []
    problems: list[str] = []
    whole: list[tuple[tuple[float, ...], int | None]] = []
    by_place: dict[int, list[float]] = defaultdict(list)
    for one, found in zip(solutions, scores, strict=True):
        if found is None or set(one.labels.ratings) <= {None}:
            continue
        targets = from_labels(one.labels)
        error = next((s for s, target in enumerate(targets) if target is not None and target <= 0), None)
        for s, (score, target) in enumerate(zip(found, targets, strict=True)):
            if target is not None and (error is None or s <= error):
                step_scores.append(score)
                right.append(target > 0)
                problems.append(one.problem.id)
                if target > 0:
                    by_place[min(s + 1, places)].append(score)
        if None not in targets[: len(targets) if error is None else error]:
            whole.append((found, error))
    if not step_scores:
        raise InputError("no rated solution is scored", remedy="give labels, and scores of the same solutions")
    several = [one for one, _ in whole if len(one) > 1]
    clean = [one for one, error in whole if error is None]
    both = len({error is None for _, error in whole}) == 2
    bounded = min(step_scores) >= 0 and max(step_scores) <= 1
    return Measures(
        len(whole),
        len(step_scores),
        float(np.mean(right)),
        auc(step_scores, right),
        within_problem_auc(step_scores, right, problems),
        calibration(step_scores, right) if bounded else None,
        first_error([one for one, _ in whole], [error for _, error in whole], threshold) if both else None,
        _distance([(first_below(one, threshold), error) for one, error in whole if error is not None]),
        float(np.mean([one[-1] < min(one[:-1]) for one in several])) if several else 0.0,
        float(np.mean([1 / len(one) for one in several])) if several else 0.0,
        tuple(Position(p, len(found), float(np.mean(found))) for p, found in sorted(by_place.items())),
        _rank_correlation([min(one) for one in clean], [len(one) for one in clean]),
        sum(one is None for one in scores),
    )


def _distance(named: Sequence[tuple[int | None, int]]) -> Distance | None:
    if not named:
        return None
    gaps = [None if found is None else found - error for found, error in named]
    known = [gap for gap in gaps if gap is not None]
    return Distance(
        gaps.count(0) / len(gaps),
        sum(gap < 0 for gap in known) / len(gaps),
        sum(gap > 0 for gap in known) / len(gaps),
        gaps.count(None) / len(gaps),
        float(np.mean(np.abs(known))) if known else None,
    )


def _rank_correlation(one: Sequence[float], two: Sequence[float]) -> float | None:
    """Spearman's: Pearson's of the ranks, equal values with their mean rank. None where one of them does not vary."""
    ranks = []
    for values in (one, two):
        _, which_K, count = np.unique(np.asarray(values, dtype=float), return_inverse=True, return_counts=True)
        if len(count) < 2:
            return None
        ranks.append((np.cumsum(count) - (count - 1) / 2)[which_K])
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])
