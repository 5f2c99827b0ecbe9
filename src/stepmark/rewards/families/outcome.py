"""An outcome reward model that reads whole solutions, as a reward model of steps."""

import asyncio

from stepmark.rewards.base import checked
from stepmark.rewards.examples import readable
from stepmark.rewards.local import LocalReward
from stepmark.steps import SEPARATOR
from stepmark.types import Cost, Prefix, StepScores


class OutcomeReward:
    """The score after step k is the reward of the first k steps as a solution, each a sequence of its own, since what
    closes a solution stands between them. The last score is that of the whole solution.

    The cost is that of all sequences: S steps cost about (S + 1) / 2 readings of the solution.
    """

    def __init__(self, solution_reward: LocalReward) -> None:
        """`solution_reward` scores a prefix of one step, the whole solution."""
        self._reward = solution_reward

    async def score(self, prefix: Prefix) -> StepScores:
        """One reward per step. Errors as `RewardModel.score`."""
        steps = readable(prefix.problem, prefix.steps)
        solutions = (SEPARATOR.join(steps[: k + 1]) for k in range(len(steps)))
        parts = await asyncio.gather(*(self._reward.score(Prefix(prefix.problem, (one,), None)) for one in solutions))
        return checked(prefix, [part.scores[-1] for part in parts], Cost.total(part.cost for part in parts))

    def close(self) -> None:
        """See `LocalReward.close`."""
        self._reward.close()
