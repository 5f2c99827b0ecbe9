"""How well scores tell right from wrong: over everything, and within each problem.

A reward model that knows only how hard a problem is reaches a high pooled AUC and selects no better than chance. The
AUC within a problem shows it, so the two are always reported together.
"""

from collections.abc import Hashable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def auc(scores: ArrayLike, right: ArrayLike, times: ArrayLike | None = None) -> float | None:
    """Area under the ROC curve: the probability that a right item scores above a wrong one, ties counting one half.
    None where there is no right or no wrong item. `times`: how often each item counts (once by default)."""
    right_K = np.asarray(right, dtype=bool)
    times_K = np.ones(len(right_K)) if times is None else np.asarray(times)
    _, which_K = np.unique(np.asarray(scores, dtype=float), return_inverse=True)
    right_U, wrong_U = (np.bincount(which_K, times_K * kind_K) for kind_K in (right_K, ~right_K))
    pairs = right_U.sum() * wrong_U.sum()
    below_U = np.cumsum(wrong_U) - wrong_U / 2  # wrong items of a lower score, and half of those of the same
    return float(right_U @ below_U / pairs) if pairs else None


def aucs_within(scores: ArrayLike, right: ArrayLike, problem: ArrayLike, problems: int) -> Floats:
    """The AUC within each problem, shape [problems], given each item's problem, numbered from 0; NaN where its items
    are all right, or all wrong."""
    scores_K, right_K, problem_K = np.asarray(scores, dtype=float), np.asarray(right, dtype=bool), np.asarray(problem)
    order_K = np.argsort(problem_K, kind="stable")
    ends = np.cumsum(np.bincount(problem_K, minlength=problems))[:-1]
    found = [auc(scores_K[group], right_K[group]) for group in np.split(order_K, ends)]
    return np.array([np.nan if one is None else one for one in found])


def within_problem_auc(scores: Sequence[float], right: Sequence[bool], problems: Sequence[Hashable]) -> float | None:
    """The mean over problems of the AUC within the problem; a problem whose items are all right or all wrong has none
    and does not count. None where no problem counts."""
    number = {problem: p for p, problem in enumerate(dict.fromkeys(problems))}
    aucs_P = aucs_within(scores, right, [number[problem] for problem in problems], len(number))
    counted = aucs_P[~np.isnan(aucs_P)]
    return float(counted.mean()) if len(counted) else None
