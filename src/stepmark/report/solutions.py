"""Solutions with the scores of their steps: where the reward model is right, and where it is misled.

As figure 2 of Let's Verify Step by Step (arXiv 2305.20050), solutions of one problem stand side by side, a correct one
beside an incorrect one, each step coloured by its score. At a threshold the reward model accepts a solution or not;
of a correct and an incorrect one it can

- tell them apart: true positive, true negative;
- accept both: true positive, false positive;
- accept neither: false negative, true negative;
- have them the wrong way round: false negative, false positive.
"""

import math
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from stepmark.errors import InputError, ScoreError
from stepmark.types import Problem, Verdict

SHADES = 10
"""steps are coloured in so many shades, and one more, from the lowest to the highest score"""


@dataclass(frozen=True, slots=True)
class Judged:
    """One solution, its verdict and its scores."""

    problem: Problem
    steps: tuple[str, ...]
    scores: tuple[float, ...]
    """one per step"""
    score: float
    """of the solution: the aggregate of its step scores"""
    answer: str | None
    verdict: Verdict
    ratings: tuple[float | None, ...] = ()
    """true ratings of the steps, where they are known: +1, 0, -1, or a value from rollouts"""
    first_error: int | None = None
    """index of the first wrong step, where it is known"""


@dataclass(frozen=True, slots=True)
class Contrast:
    """A correct and an incorrect solution of one problem."""

    correct: Judged
    incorrect: Judged


@dataclass(frozen=True, slots=True)
class Group:
    """Contrasts in which the reward model accepts the same."""

    accepts_correct: bool
    accepts_incorrect: bool
    pairs: int
    """of a correct and an incorrect solution of one problem, over all solutions"""
    problems: int
    """with such pairs"""
    shown: tuple[Contrast, ...]


@dataclass(frozen=True, slots=True)
class Solutions:
    """A reward model's judgement of many solutions, with a few of them to look at."""

    scores: str
    aggregate: str
    threshold: float
    """a solution with at least this score is accepted; infinite: none is"""
    scale: tuple[float, float]
    """step scores shown as the worst and the best colour"""
    accepted: tuple[int, int]
    """correct and incorrect solutions that are accepted: true and false positives"""
    rejected: tuple[int, int]
    """correct and incorrect solutions that are not: false and true negatives"""
    ungraded: int
    """solutions without a verdict, which are left out"""
    groups: tuple[Group, ...]
    rated_by: str | None = None
    """whose true ratings the solutions carry"""

    def accepts(self, solution: Judged) -> bool:
        return solution.score >= self.threshold

    def shade(self, score: float) -> int:
        """The colour of a step, 0 to `SHADES`."""
        low, high = self.scale
        share = (score - low) / (high - low) if high > low else 0.5
        return round(SHADES * min(max(share, 0.0), 1.0))


def contrasts(
    scores: str,
    aggregate: str,
    solutions: Sequence[Judged],
    *,
    each: int = 2,
    threshold: float | None = None,
    seed: int = 0,
    rated_by: str | None = None,
) -> Solutions:
    """Up to `each` contrasts of each of the four kinds. Problems are drawn at random among those that have such a pair,
    then a solution of either side: nothing is picked for its looks.

    Without a threshold, as many solutions are accepted as are correct (more where scores tie), which suits any scale:
    then the false positives are as many as the false negatives. Scores within [0, 1] are coloured on that scale, others
    between the 5 % and the 95 % quantile of all. Raises InputError: no graded solution; ScoreError: scores that do not
    fit the steps.
    """
    for one in solutions:
        if len(one.scores) != len(one.steps) or not all(map(math.isfinite, one.scores)) or math.isnan(one.score):
            raise ScoreError(
                f"a solution of problem {one.problem.id!r} has {len(one.steps)} steps and the scores {one.scores}",
                remedy="score it again, a finite number for each step",
            )
        if one.ratings and len(one.ratings) != len(one.steps):
            raise InputError(f"a solution of problem {one.problem.id!r} has ratings that do not fit its steps")
    graded = [one for one in solutions if one.verdict.value != "ungraded"]
    if not graded:
        raise InputError("no solution has a verdict", remedy="show solutions that could be graded")
    if threshold is None:
        correct = sum(one.verdict.correct for one in graded)
        threshold = sorted((one.score for one in graded), reverse=True)[correct - 1] if correct else math.inf
    sides: dict[str, dict[tuple[bool, bool], list[Judged]]] = defaultdict(lambda: defaultdict(list))
    counts: dict[tuple[bool, bool], int] = defaultdict(int)
    for one in graded:
        kind = (one.verdict.correct, one.score >= threshold)
        sides[one.problem.id][kind].append(one)
        counts[kind] += 1
    rng = random.Random(seed)
    groups = []
    for left, right in ((True, False), (True, True), (False, False), (False, True)):
        having = [(kinds[True, left], kinds[False, right]) for kinds in sides.values()]
        having = [(correct, incorrect) for correct, incorrect in having if correct and incorrect]
        drawn = rng.sample(having, min(each, len(having)))
        groups.append(
            Group(
                left,
                right,
                sum(len(correct) * len(incorrect) for correct, incorrect in having),
                len(having),
                tuple(Contrast(rng.choice(correct), rng.choice(incorrect)) for correct, incorrect in drawn),
            )
        )
    return Solutions(
        scores,
        aggregate,
        threshold,
        _scale([score for one in graded for score in one.scores]),
        (counts[True, True], counts[False, True]),
        (counts[True, False], counts[False, False]),
        len(solutions) - len(graded),
        tuple(groups),
        rated_by,
    )


def _scale(scores: list[float]) -> tuple[float, float]:
    if min(scores) >= 0 and max(scores) <= 1:
        return (0.0, 1.0)
    ordered = sorted(scores)
    return ordered[len(ordered) // 20], ordered[-1 - len(ordered) // 20]
