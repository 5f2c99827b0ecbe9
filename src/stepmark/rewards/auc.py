"""How well scores tell right from wrong: over everything, and within each problem.

A reward model that knows only how hard a problem is reaches a high pooled AUC and selects no better than chance. The
AUC within a problem shows it, so the two are always reported together.
"""

from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np


def auc(scores: Sequence[float], right: Sequence[bool]) -> float | None:
    """Area under the ROC curve: the probability that a right item scores above a wrong one, ties counting one half.
    None where there is no right or no wrong item."""
    right_K = np.asarray(right, dtype=bool)
    n_right = int(right_K.sum())
    n_wrong = len(right_K) - n_right
    if n_right == 0 or n_wrong == 0:
        return None
    _, which_K, count = np.unique(np.asarray(scores, dtype=float), return_inverse=True, return_counts=True)
    rank_K = (np.cumsum(count) - (count - 1) / 2)[which_K]  # the mean rank of equal scores
    return float((rank_K[right_K].sum() - n_right * (n_right + 1) / 2) / (n_right * n_wrong))


def within_problem_auc(scores: Sequence[float], right: Sequence[bool], problems: Sequence[Hashable]) -> float | None:
    """The mean over problems of the AUC within the problem; a problem whose items are all right or all wrong has none
    and does not count. None where no problem counts."""
    items: dict[Hashable, list[int]] = defaultdict(list)
    for item, problem in enumerate(problems):
        items[problem].append(item)
    aucs = [auc([scores[i] for i in group], [right[i] for i in group]) for group in items.values()]
    counted = [value for value in aucs if value is not None]
    return float(np.mean(counted)) if counted else None
