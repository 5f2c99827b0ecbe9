"""The compute-optimal choice: the best way to spend a budget on a problem of each difficulty (Snell et al. 2024, arXiv
2408.03314, sections 3.1 and 5.3).

An *arm* is a strategy with all its settings. Where each arm was run on the same problems, the arm for a bin of
difficulty and a budget is the one with the highest accuracy on that bin's problems among the arms whose mean cost fits
the budget: as in the paper a budget is a size of search, and on a bin of hard problems, whose solutions are longer, it
may cost more than in the mean (what the choice costs is told beside what it gains). So that this is no look at the
answers, the choice is cross-validated: for the problems of one fold it is made on the other folds, their edges of the
bins and mean costs included.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.budget.difficulty import Bins
from stepmark.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Choices:
    """Which arm to take."""

    bins: Bins
    arms_B_K: Ints
    """by bin and budget, the index of an arm"""


@dataclass(frozen=True, slots=True)
class Held:
    """The arm for each problem, chosen without its fold."""

    arms_P_K: Ints
    bins_P: Ints
    """as the other folds draw them"""
    folds_P: Ints

    def of(self, values_P_A: Floats) -> Floats:
        """What the chosen arms are worth, or cost: shape [P, K]."""
        return np.take_along_axis(values_P_A, self.arms_P_K, axis=1)


def choose(
    values_P_A: Floats, costs_P_A: Floats, ease_P: Sequence[float], budgets: Sequence[float], *, count: int = 5
) -> Choices:
    """The arm with the highest mean value on the problems of each bin, of those whose mean cost is within the budget.

    Of equal ones the cheaper is taken, then the earlier. In a bin without problems the choice is made on all. Raises
    InputError for a budget that no arm fits.
    """
    bins = Bins.quantiles(ease_P, count)
    bins_P = np.array([bins.of(ease) for ease in ease_P])
    cost_A = costs_P_A.mean(axis=0)
    arms_B_K = np.zeros((count, len(budgets)), dtype=np.int64)
    for b in range(count):
        members_P = bins_P == b
        value_A = values_P_A[members_P if members_P.any() else slice(None)].mean(axis=0)
        for k, budget in enumerate(budgets):
            fits = [a for a in range(len(cost_A)) if cost_A[a] <= budget * (1 + 1e-9)]
            if not fits:
                raise InputError(f"no run fits a budget of {budget:g}", remedy=f"the cheapest costs {cost_A.min():g}")
            arms_B_K[b, k] = min(fits, key=lambda a: (-round(float(value_A[a]), 12), cost_A[a], a))
    return Choices(bins, arms_B_K)


def cross_validate(
    values_P_A: Floats,
    costs_P_A: Floats,
    ease_P: Sequence[float],
    budgets: Sequence[float],
    *,
    count: int = 5,
    folds: int = 2,
    seed: int = 0,
) -> Held:
    """`choose`, for the problems of each fold on those of the others; the paper takes two folds. Raises InputError for
    fewer problems than folds."""
    problems = len(values_P_A)
    if not 2 <= folds <= problems:
        raise InputError(f"{folds} folds of {problems} problems", remedy="take two folds or more, and more problems")
    folds_P = np.random.default_rng(seed).permutation(np.arange(problems) % folds)
    arms_P_K = np.zeros((problems, len(budgets)), dtype=np.int64)
    bins_P = np.zeros(problems, dtype=np.int64)
    for fold in range(folds):
        seen_P, held = folds_P != fold, np.flatnonzero(folds_P == fold)
        ease = [one for one, seen in zip(ease_P, seen_P, strict=True) if seen]
        chosen = choose(values_P_A[seen_P], costs_P_A[seen_P], ease, budgets, count=count)
        bins_P[held] = [chosen.bins.of(ease_P[p]) for p in held.tolist()]
        arms_P_K[held] = chosen.arms_B_K[bins_P[held]]
    return Held(arms_P_K, bins_P, folds_P)
