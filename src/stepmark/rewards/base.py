"""The seam of every verifier: a prefix in, one score per step out.

`OracleReward` and `NoisyReward` are the public fakes: an exact judge, and any judge made unreliable by a known amount.
"""

import hashlib
import math
import random
from collections.abc import Callable, Sequence
from typing import Protocol

from stepmark.errors import ScoreError
from stepmark.types import Cost, Prefix, Problem, StepScores

LARGEST_LOGIT = 4.0
"""`NoisyReward` takes a score for no surer than this many logits, a probability of .018 or .982"""


class RewardModel(Protocol):
    """Judges the steps of a solution."""

    async def score(self, prefix: Prefix) -> StepScores:
        """One score per step of the prefix, the higher the better.

        Raises:
            InputError: the prefix cannot be scored (no steps, a blank step, too long).
            ScoreError: the scores do not fit the steps.
            BackendError: the model failed.
        """
        ...


def checked(prefix: Prefix, scores: Sequence[float], cost: Cost) -> StepScores:
    """Scores as they may leave a reward model: at least one, one per step, each a number. Raises `ScoreError`."""
    if not prefix.steps:
        raise ScoreError(f"a prefix of problem {prefix.problem.id!r} has no steps", remedy="there is nothing to score")
    if len(scores) != len(prefix.steps):
        raise ScoreError(
            f"{len(scores)} scores for the {len(prefix.steps)} steps of a solution of problem {prefix.problem.id!r}",
            remedy="score every step, blank ones left out",
        )
    for number, score in enumerate(scores, 1):
        if not math.isfinite(score):
            raise ScoreError(
                f"the score of step {number} of a solution of problem {prefix.problem.id!r} is {score}",
                remedy="the reward model's weights or its arithmetic are broken; try float32",
            )
    return StepScores(tuple(float(score) for score in scores), cost)


class OracleReward:
    """Scores from an exact judge: 1 for a step rated +1, 0 for one rated -1, and `neutral` for one rated 0 (correct but
    not needed). Let's Verify (arXiv 2305.20050, table 4) counts neutral steps as right: `neutral=1`."""

    def __init__(self, rate: Callable[[Problem, tuple[str, ...]], Sequence[int]], *, neutral: float) -> None:
        self._rate = rate
        self._worth = {1: 1.0, 0: neutral, -1: 0.0}

    async def score(self, prefix: Prefix) -> StepScores:
        ratings = self._rate(prefix.problem, prefix.steps)
        if not set(ratings) <= self._worth.keys():
            rated = f"a rating of a step of problem {prefix.problem.id!r} is not +1, 0 or -1: {ratings}"
            raise ScoreError(rated, remedy="mend the judge")
        return checked(prefix, [self._worth[rating] for rating in ratings], Cost(requests=1))


class NoisyReward:
    """Another reward model's probabilities, blurred: normal noise of standard deviation `noise` is added to the logit
    of each score (limited to +-4, so that certainty can be blurred too). With finite degrees of freedom `tail` the
    noise is Student's t times `noise` instead: rarely, a wrong solution is then scored far above every right one.

    The noise of a step is drawn from (seed, problem, the steps up to it). So a prefix always gets the same scores, and
    a longer prefix repeats the scores of a shorter one, as with a causal model.
    """

    def __init__(self, reward: RewardModel, *, noise: float, tail: float = math.inf, seed: int = 0) -> None:
        self._reward = reward
        self._noise = noise
        self._tail = tail
        self._seed = seed

    async def score(self, prefix: Prefix) -> StepScores:
        clean = await self._reward.score(prefix)
        digest = hashlib.sha256(repr((self._seed, prefix.problem.id)).encode())
        blurred = []
        for step, score in zip(prefix.steps, clean.scores, strict=True):
            digest.update(repr(step).encode())
            noise = self._draw(random.Random(digest.digest()))
            blurred.append(_sigmoid(_logit(score, prefix) + noise))
        return checked(prefix, blurred, clean.cost)

    def _draw(self, rng: random.Random) -> float:
        normal = rng.gauss(0.0, self._noise)
        if math.isinf(self._tail):
            return normal
        return normal / math.sqrt(rng.gammavariate(self._tail / 2, 2 / self._tail))


def _logit(score: float, prefix: Prefix) -> float:
    if not 0.0 <= score <= 1.0:
        raise ScoreError(
            f"a score of a solution of problem {prefix.problem.id!r} is {score}, not a probability",
            remedy="NoisyReward blurs probabilities only",
        )
    least = _sigmoid(-LARGEST_LOGIT)
    inside = min(max(score, least), 1.0 - least)
    return math.log(inside / (1.0 - inside))


def _sigmoid(logit: float) -> float:
    return 0.5 + 0.5 * math.tanh(logit / 2)  # never overflows
