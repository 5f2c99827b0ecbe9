"""Does a reward model compare a step with the facts? The drop of a right step's score when one number in it is changed.

A model may reach a high AUC over all steps by knowing how hard a problem is. Such a model scores "24 - 10 = 14" and
"24 - 10 = 15" alike, and cannot choose between two solutions of one problem.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from stepmark.rewards.base import RewardModel
from stepmark.types import Prefix, Problem


@dataclass(frozen=True, slots=True)
class Probe:
    """Step `step` (from 0) of a solution, which is right, and the same step with one number changed."""

    problem: Problem
    steps: tuple[str, ...]
    step: int
    changed: str


@dataclass(frozen=True, slots=True)
class Drop:
    """A probe's two scores of the step, given the same steps before it."""

    probe: Probe
    right: float
    wrong: float

    @property
    def value(self) -> float:
        """How far the score falls; negative where the changed step scores higher."""
        return self.right - self.wrong


def probe(problem: Problem, steps: Sequence[str], right_S: Sequence[bool], seed: int = 0) -> Probe | None:
    """One probe of a solution: a right step among those before its first wrong one, a number in it, a digit of that
    number replaced. None where no such step has a number.

    The change makes a right step wrong where its number matters, as in arithmetic and in quoted facts; in text where
    it does not ("Step 3:") it may not.
    """
    rng = random.Random(repr((seed, problem.id, tuple(steps))))
    first_wrong = next((s for s, right in enumerate(right_S) if not right), len(steps))
    places = [(s, m.start()) for s in range(first_wrong) for m in re.finditer(r"\d", steps[s])]
    if not places:
        return None
    step, at = rng.choice(places)
    text = steps[step]
    digit = rng.choice([d for d in "0123456789" if d != text[at]])
    return Probe(problem, tuple(steps), step, text[:at] + digit + text[at + 1 :])


async def drop(reward: RewardModel, probe: Probe) -> Drop:
    """The scores of the probed step as it was and as it was changed. Errors as `RewardModel.score`."""
    before = probe.steps[: probe.step]
    right = await reward.score(Prefix(probe.problem, (*before, probe.steps[probe.step]), None))
    wrong = await reward.score(Prefix(probe.problem, (*before, probe.changed), None))
    return Drop(probe, right.scores[-1], wrong.scores[-1])
