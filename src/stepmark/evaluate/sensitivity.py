"""Does a reward model compare a step with the facts? The drop of a right step's score when one number, sign or
name in it is changed.

A model may reach a high AUC over all steps by knowing how hard a problem is. Such a model scores "24 - 10 = 14" and
"24 - 10 = 15" alike, and cannot choose between two solutions of one problem.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from stepmark.evaluate.intervals import Bootstrap, Figure, interval, resample
from stepmark.rewards.base import RewardModel
from stepmark.types import Prefix, Problem


@dataclass(frozen=True, slots=True)
class Probe:
    """Step `step` (from 0) of a solution, which is right, and the same step with one thing changed."""

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


Change = Literal["number", "sign", "name"]
"""what of a right step is changed: a digit of a number, an operation's sign, or a name of the question"""
KINDS: tuple[Change, ...] = ("number", "sign", "name")
_SIGN = re.compile(r"(?<=[\d\s)])[-+*/×÷](?=[\s\d$(])")


def probe(
    problem: Problem, steps: Sequence[str], right_S: Sequence[bool], seed: int = 0, change: Change = "number"
) -> Probe | None:
    """One probe of a solution: a right step among those before its first wrong one, and one thing in it replaced by
    another of its kind. None where no such step has one.

    The change makes a right step wrong where what is changed matters, as in arithmetic and in quoted facts; in text
    where it does not ("Step 3:") it may not.
    """
    rng = random.Random(repr((seed, problem.id, tuple(steps))))
    first_wrong = next((s for s, right in enumerate(right_S) if not right), len(steps))
    names = sorted(set(re.findall(r"(?<=[a-z,] )[A-Z][a-z]+\b", problem.question)))
    kinds: dict[Change, tuple[str | re.Pattern[str], Sequence[str]]] = {
        "number": (r"\d", "0123456789"),
        "sign": (_SIGN, "+-*/"),
        "name": (rf"\b(?:{'|'.join(names)})\b", names),
    }
    pattern, others = kinds[change]
    places = [(s, m) for s in range(first_wrong) for m in re.finditer(pattern, steps[s]) if m[0]]
    if not places or len(others) < 2:
        return None
    step, found = rng.choice(places)
    text = steps[step]
    other = rng.choice([one for one in others if one != found[0]])
    return Probe(problem, tuple(steps), step, text[: found.start()] + other + text[found.end() :])


async def drop(reward: RewardModel, probe: Probe) -> Drop:
    """The scores of the probed step as it was and as it was changed. Errors as `RewardModel.score`."""
    before = probe.steps[: probe.step]
    right = await reward.score(Prefix(probe.problem, (*before, probe.steps[probe.step]), None))
    wrong = await reward.score(Prefix(probe.problem, (*before, probe.changed), None))
    return Drop(probe, right.scores[-1], wrong.scores[-1])


def fall(drops: Sequence[Drop], bootstrap: Bootstrap) -> Figure:
    """The mean of `Drop.value`, with its interval over problems. Raises InputError: no drops."""
    place = {name: p for p, name in enumerate(dict.fromkeys(one.probe.problem.id for one in drops))}
    totals_P_2 = np.zeros((len(place), 2))
    for one in drops:
        totals_P_2[place[one.probe.problem.id]] += (one.value, 1)
    value, count = totals_P_2.sum(axis=0)
    sum_B, count_B = resample(totals_P_2, bootstrap).T
    low, high = interval(value / count, sum_B / count_B, bootstrap.level)
    return Figure(float(value / count), float(low), float(high))
