"""How hard a problem is for a policy, in bins of equal size (Snell et al. 2024, arXiv 2408.03314, section 3.2).

The *ease* of a problem is measured on a pool of solutions, in one of two ways: the share of right ones (`oracle`, which
needs the answer), or the mean score that a reward model gives to them (`predicted`, which does not). The paper takes
2048 solutions, of which the cost is not counted; `stepmark.budget.plan` can count it.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf, isnan
from statistics import fmean
from typing import Literal

import numpy as np

from stepmark.errors import InputError

Measure = Literal["oracle", "predicted"]
"""the share of right solutions, or their mean score"""


def pass_rate(correct_N: Sequence[bool]) -> float:
    """The ease by the oracle: the share of right solutions; an ungraded one is not known to be right."""
    if not correct_N:
        raise InputError("no solutions to measure a problem by", remedy="draw at least one")
    return fmean(correct_N)


def predicted(scores_N: Sequence[float | None]) -> float:
    """The ease by a reward model: the mean score of the solutions that have one. -inf where none was finished, which is
    all that is known of such a problem."""
    scores = [score for score in scores_N if score is not None]
    if any(isnan(score) for score in scores):
        raise InputError("a solution score is NaN", remedy="give None for a solution without a score")
    return fmean(scores) if scores else -inf


@dataclass(frozen=True, slots=True)
class Bins:
    """Bins of ease: 0 is the easiest, `count` - 1 the hardest (the paper numbers them from 1)."""

    edges: tuple[float, ...]
    """rising; a problem on an edge belongs to the easier side"""

    @classmethod
    def quantiles(cls, ease_P: Sequence[float], count: int = 5) -> "Bins":
        """Bins with as many problems in each; problems of equal ease share one, so that bins can be empty. An ease of
        -inf is below every edge. Raises InputError: no problem with a finite ease, or no bin."""
        least = min((ease for ease in ease_P if ease > -inf), default=-inf)
        if least == -inf or count < 1:
            raise InputError(f"{count} bins of problems of ease {list(ease_P)}", remedy="measure problems, bin them")
        shares = [k / count for k in range(1, count)]
        edges = np.quantile(np.maximum(ease_P, least), shares, method="higher")
        return cls(tuple(float(edge) for edge in edges))

    @property
    def count(self) -> int:
        return len(self.edges) + 1

    def of(self, ease: float) -> int:
        """The bin of a problem."""
        return len(self.edges) - bisect_right(self.edges, ease)
