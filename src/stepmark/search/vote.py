"""Majority vote (self-consistency; Wang et al. 2022, arXiv 2203.11171) and vote weighted by solution scores (Li et al.
2022, arXiv 2206.02336; Snell et al. 2024 call it best-of-N weighted).

Answers are grouped into classes by the grader (`stepmark.grading.classes`), never by their text. A candidate whose
class is None has no usable answer and does not vote.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import ScoreError
from stepmark.rewards.aggregate import Aggregation

TIE = 1e-12
"""Relative difference below which two sums of weights are the same: sums of equal weights in another order differ in
their last bits, and must tie."""


def chances(classes_N: Sequence[int | None], weights_N: Sequence[float | None] | None = None) -> dict[int, float]:
    """The chance of each answer class to be the one that is returned: 1 for the class with the largest sum of weights,
    shared equally between classes that tie for it. Empty if nobody votes.

    Without weights, each candidate counts 1 (majority). A candidate whose weight is None does not vote: a missing score
    is neither 0 nor -1. Raises ScoreError if a weight is negative or not finite: it would take votes away from its own
    answer, so unbounded scores cannot weigh a vote.
    """
    voters = [
        (answer, weight)
        for answer, weight in zip(classes_N, weights_N or [1.0] * len(classes_N), strict=True)
        if answer is not None and weight is not None
    ]
    check_weights(np.array([weight for _, weight in voters]))
    answers = sorted({answer for answer, _ in voters})
    if not answers:
        return {}
    totals_C = np.array([sum(weight for answer, weight in voters if answer == one) for one in answers])
    return dict(zip(answers, winners(totals_C, np.ones(len(answers), dtype=bool)).tolist(), strict=True))


def weights(keys_N: NDArray[np.float64], how: Aggregation) -> NDArray[np.float64]:
    """The weights of votes from their solutions' scores (as `sort_key`; NaN: no score). Votes are weighed within a
    problem, so products may be scaled: the largest to 1, where they would underflow."""
    if how != "product":
        return keys_N
    largest = np.nanmax(keys_N, initial=-np.inf)
    return np.exp(keys_N - largest) if np.isfinite(largest) else np.zeros_like(keys_N)


def winners(totals_C: NDArray[np.float64], present_C: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The chance of each class along the last axis: the largest total among the classes that are present wins, and ties
    share. A row without a present class is all 0."""
    best = np.max(totals_C, axis=-1, keepdims=True, initial=0, where=present_C)
    tied_C = present_C & (totals_C >= best * (1 - TIE))
    shares_C: NDArray[np.float64] = tied_C / np.maximum(tied_C.sum(axis=-1, keepdims=True), 1)
    return shares_C


def check_weights(weights: NDArray[np.float64]) -> None:
    """Raises ScoreError unless all weights are finite and at least 0."""
    if not np.all(np.isfinite(weights) & (weights >= 0)):
        wrong = weights[~(np.isfinite(weights) & (weights >= 0))][0]
        raise ScoreError(
            f"the weight of a vote is {wrong}", remedy="weights are finite and at least 0; take best-of-N instead"
        )
