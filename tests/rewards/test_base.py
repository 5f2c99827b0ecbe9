import asyncio
import statistics

import pytest

from stepmark.errors import ScoreError
from stepmark.rewards.base import NoisyReward, OracleReward, checked
from stepmark.types import Cost, Prefix, Problem, StepScores

PROBLEM = Problem(id="p", question="?", gold="1", source="toy")


def rate(problem: Problem, steps: tuple[str, ...]) -> tuple[int, ...]:
    return tuple({"good": 1, "fine": 0, "bad": -1}[step] for step in steps)


class Fixed:
    def __init__(self, *scores: float) -> None:
        self.scores = scores

    async def score(self, prefix: Prefix) -> StepScores:
        return StepScores(self.scores[: len(prefix.steps)], Cost(scored=7))


def test_an_oracle_scores_neutral_as_told() -> None:
    prefix = Prefix(PROBLEM, ("good", "fine", "bad"))
    assert asyncio.run(OracleReward(rate, neutral=1.0).score(prefix)).scores == (1.0, 1.0, 0.0)
    assert asyncio.run(OracleReward(rate, neutral=0.0).score(prefix)).scores == (1.0, 0.0, 0.0)


@pytest.mark.parametrize("ratings", [(1,), (1, 1, 1), (1, 2)], ids=["too few", "too many", "not a rating"])
def test_an_oracle_that_misrates_is_an_error(ratings: tuple[int, ...]) -> None:
    reward = OracleReward(lambda problem, steps: ratings, neutral=1.0)
    with pytest.raises(ScoreError, match="'p'"):
        asyncio.run(reward.score(Prefix(PROBLEM, ("good", "good"))))


@pytest.mark.parametrize("scores", [(0.5,), (0.5, 0.5, 0.5), (0.5, float("nan")), (float("inf"), 0.5)])
def test_scores_that_do_not_fit_are_never_padded_cut_or_passed_on(scores: tuple[float, ...]) -> None:
    with pytest.raises(ScoreError):
        checked(Prefix(PROBLEM, ("a", "b")), scores, Cost())


def test_no_steps_no_scores() -> None:
    with pytest.raises(ScoreError, match="no steps"):
        asyncio.run(OracleReward(rate, neutral=1.0).score(Prefix(PROBLEM)))


def test_noise_belongs_to_the_steps_up_to_it() -> None:
    """So the same prefix has one score for ever, and a longer one repeats it, as in a causal model."""
    reward = NoisyReward(Fixed(0.5, 0.5, 0.5), noise=1.0, seed=3)
    long = asyncio.run(reward.score(Prefix(PROBLEM, ("a", "b", "c"))))
    again = asyncio.run(NoisyReward(Fixed(0.5, 0.5, 0.5), noise=1.0, seed=3).score(Prefix(PROBLEM, ("a", "b", "c"))))
    short = asyncio.run(reward.score(Prefix(PROBLEM, ("a", "b"))))
    other = asyncio.run(reward.score(Prefix(PROBLEM, ("x", "b"))))
    assert long == again
    assert short.scores == long.scores[:2]
    assert other.scores[1] != long.scores[1]
    assert long.cost == Cost(scored=7)


def test_noise_has_the_size_that_was_asked_for() -> None:
    """400 draws: the standard deviation of the logits is within 4 of its standard errors (noise / sqrt(800)) of the
    noise, and their mean within 4 of its (noise / 20) of 0. At logit 0, the score 1/2, the sigmoid's slope is 1/4."""
    reward = NoisyReward(Fixed(0.5), noise=0.05)
    scores = [asyncio.run(reward.score(Prefix(PROBLEM, (str(i),)))).scores[0] for i in range(400)]
    logits = [4 * (score - 0.5) for score in scores]
    assert abs(statistics.stdev(logits) - 0.05) < 4 * 0.05 / 800**0.5
    assert abs(statistics.mean(logits)) < 4 * 0.05 / 20


def test_noisy_scores_stay_probabilities_and_keep_their_side_without_noise() -> None:
    prefix = Prefix(PROBLEM, ("a", "b", "c"))
    low, middle, high = asyncio.run(NoisyReward(Fixed(0.0, 0.3, 1.0), noise=0.0).score(prefix)).scores
    assert (round(low, 3), round(middle, 3), round(high, 3)) == (0.018, 0.3, 0.982)
    wild = asyncio.run(NoisyReward(Fixed(0.0, 0.3, 1.0), noise=1e6).score(prefix)).scores
    assert all(0.0 <= score <= 1.0 for score in wild)


def test_noise_on_something_that_is_no_probability_is_an_error() -> None:
    with pytest.raises(ScoreError, match="not a probability"):
        asyncio.run(NoisyReward(Fixed(3.2), noise=0.1).score(Prefix(PROBLEM, ("a",))))
