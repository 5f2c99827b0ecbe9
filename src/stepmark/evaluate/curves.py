"""Accuracy as a function of the number of candidates: the points of which tables, JSON and reports are made."""

from dataclasses import dataclass
from typing import Literal

Method = Literal["best_of_n", "weighted_vote", "majority", "oracle"]
"""How an answer is chosen from n candidates. `oracle` is the coverage, pass@k with k = n: a problem counts as solved if
any of the n is correct. At n = 1 every method is pass@1, unless some candidates have no answer to vote for."""


@dataclass(frozen=True, slots=True)
class Point:
    """Expected accuracy of a method that sees n candidates per problem, with its interval over problems."""

    n: int
    accuracy: float
    low: float
    high: float
    generated: float | None = None
    """mean tokens per problem that the policy generated for n candidates; None: unknown"""
    scored: float | None = None
    """mean tokens per problem that the reward model computed for n candidates; None: unknown"""
    standard_error: float = 0.0
    """of `accuracy`, from subsampling subsets alone; 0 where the expectation over subsets is exact"""


@dataclass(frozen=True, slots=True)
class Curve:
    """The points of one method, by increasing n. `scores` names the reward model and `aggregate` how its step scores
    became one score; both are None where the method reads no scores."""

    method: Method
    scores: str | None
    aggregate: str | None
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Accuracy of a method minus that of a baseline method, with the same n candidates of the same problems, and the
    interval of that difference over problems (paired: both are resampled together)."""

    method: Method
    scores: str | None
    aggregate: str | None
    baseline: Method
    baseline_scores: str | None
    baseline_aggregate: str | None
    n: int
    difference: float
    low: float
    high: float
