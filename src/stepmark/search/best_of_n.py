"""Best-of-N: draw N solutions, return the one that the reward model scores highest (Cobbe et al. 2021, arXiv
2110.14168; Lightman et al. 2023, arXiv 2305.20050)."""

from collections.abc import Sequence
from math import isnan

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import ScoreError


def chances(scores_N: Sequence[float | None]) -> NDArray[np.float64]:
    """The chance of each candidate, shape [N], to be the one that is returned.

    The highest score takes all; candidates that tie for it share equally, so that no result depends on the order in
    which candidates were drawn. None is a candidate without a score: it is never chosen. If none has a score, nothing
    is chosen and all chances are 0. -inf is a score (the logarithm of a product that is 0); NaN raises ScoreError.
    """
    scores = [score for score in scores_N if score is not None]
    if any(isnan(score) for score in scores):
        raise ScoreError("a solution score is NaN", remedy="give None for a candidate without a score")
    best = max(scores, default=None)
    tied = [score is not None and score == best for score in scores_N]
    return np.array(tied, dtype=np.float64) / max(sum(tied), 1)
