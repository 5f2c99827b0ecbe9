"""A policy and a reward model whose truth is known, so that what a search must find can be computed.

A `Chain` is a random walk over named states that ends in an answer; every step of a solution names the state that it
leads to. The chance to end in the right answer from any state, and the chance of every answer, follow exactly, by
dynamic programming from the ends. `SimulatedPolicy` walks the chain, `SimulatedReward` scores a step by the true chance
of its state, or by the part of the truth that it is allowed to see. `NoisyReward` blurs such scores by a known amount,
`MiscalibratedReward` bends them by a known monotone curve. Nothing here needs a model, and all of it is a function of
the seeds.
"""

import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Literal

from stepmark.errors import InputError
from stepmark.grading import extract
from stepmark.policies.base import ScriptedPolicy, seed_from
from stepmark.rewards.base import RewardModel, checked
from stepmark.steps import join
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling, StepScores

START = "start"
"""the state of the problem itself"""
ANSWER = "Answer:"

Chances = Mapping[str, float]


@dataclass(frozen=True)
class Chain:
    """A walk over states from `START`. Names of states are single words. Raises InputError: chances that do not add up
    to 1, a state from which nothing leads on, or a walk that can come back to where it was."""

    moves: Mapping[str, Chances]
    """of a state: the states that a step may lead to, with their chances"""
    answers: Mapping[str, Chances]
    """of a state in which solutions end: the answers, with their chances"""
    revises: Mapping[str, str] = field(default_factory=dict)
    """where a revision begins, by the last state of the attempt that it is shown last; elsewhere it begins anew"""

    def __post_init__(self) -> None:
        for state, chances in [*self.moves.items(), *self.answers.items()]:
            if not math.isclose(sum(chances.values()), 1.0) or min(chances.values()) < 0:
                raise InputError(f"the chances of state {state!r} are {dict(chances)}", remedy="they add up to 1")
        known = self.moves.keys() | self.answers.keys()
        for state in [START, *self.revises.values(), *(one for chances in self.moves.values() for one in chances)]:
            if state not in known:
                raise InputError(f"nothing follows state {state!r}", remedy="give it moves or answers")
        self._from_the_ends()

    def outcomes(self) -> dict[str, dict[str, float]]:
        """Of every state, the chance of every answer that a solution may end in from there."""
        found: dict[str, dict[str, float]] = {}
        for state in self._from_the_ends():
            if state in self.answers:
                found[state] = dict(self.answers[state])
                continue
            found[state] = {}
            for following, chance in self.moves[state].items():
                for answer, share in found[following].items():
                    found[state][answer] = found[state].get(answer, 0.0) + chance * share
        return found

    def values(self, gold: str) -> dict[str, float]:
        """Of every state, the chance to end in the right answer from there."""
        return {state: answers.get(gold, 0.0) for state, answers in self.outcomes().items()}

    def _from_the_ends(self) -> list[str]:
        try:
            return list(
                TopologicalSorter({state: list(chances) for state, chances in self.moves.items()}).static_order()
            )
        except CycleError as error:
            raise InputError(
                f"the walk can go round: {error.args[1]}", remedy="name the states of each depth"
            ) from None


def straight(chance: float, depth: int, *, right: str = "1", wrong: str = "0") -> Chain:
    """`depth` steps, each of which is right with `chance` where all before it were; after a wrong one all are wrong.
    From the state `right{k}` a solution ends right with chance ** (depth - k)."""
    moves: dict[str, Chances] = {START: {"right1": chance, "wrong1": 1 - chance}}
    for k in range(1, depth):
        moves[f"right{k}"] = {f"right{k + 1}": chance, f"wrong{k + 1}": 1 - chance}
        moves[f"wrong{k}"] = {f"wrong{k + 1}": 1.0}
    return Chain(moves, {f"right{depth}": {right: 1.0}, f"wrong{depth}": {wrong: 1.0}})


class SimulatedPolicy:
    """Writes solutions by walking a chain: a line `STATE WORDING` for each step, and at last `Answer: ...`.

    The wording is a number below `wordings`: with one wording, two solutions that take the same way are copies of each
    other. At temperature 0 each step takes the likeliest move. Other temperatures, and top_p and top_k, change nothing:
    the chain is the distribution that is drawn from. Tokens are characters.
    """

    def __init__(self, chain: Chain, *, wordings: int = 2**40) -> None:
        self.chain = chain
        self.wordings = wordings
        self._drawn = ScriptedPolicy(self._rest)
        self._greedy = ScriptedPolicy(lambda prefix, index, seed: self._rest(prefix, None, seed))

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """As `Policy.sample`; raises InputError for a step that no walk of the chain writes."""
        return await (self._drawn if sampling.temperature else self._greedy).sample(prefix, n, sampling)

    def _rest(self, prefix: Prefix, index: int | None, seed: int) -> str:
        """All that is left to say; the randomness of a step hangs on the seed, the index and its place."""
        if prefix.steps and prefix.steps[-1].startswith(ANSWER):
            return ""
        state, written = self._begins(prefix), list(prefix.steps)
        while state in self.chain.moves:
            rng = random.Random(seed_from(seed, index, len(written)))
            state = _one(self.chain.moves[state], None if index is None else rng)
            written.append(f"{state} {0 if index is None else rng.randrange(self.wordings)}")
        rng = random.Random(seed_from(seed, index, len(written)))
        answer = _one(self.chain.answers[state], None if index is None else rng)
        return join(written[len(prefix.steps) :]) + f"{ANSWER} {answer}"

    def _begins(self, prefix: Prefix) -> str:
        if prefix.steps:
            return state_of(self.chain, prefix.problem, prefix.steps)
        shown = prefix.problem.question.rpartition("Attempt:\n")[2].splitlines()
        last = [line.split()[0] for line in shown if line.strip() and line.split()[0] in self.chain.answers]
        return self.chain.revises.get(last[-1], START) if last else START


Sees = Literal["all", "states", "answer"]
"""the state, and whether an answer is right; the state alone: after the answer it says what it said before it, which
is calibrated; or whether an answer is right alone: before it, all it knows is the policy's chance at the start"""


class SimulatedReward:
    """Scores each step by the true chance that the solution ends right, given what the judge `sees`. It reads as many
    tokens as the text has characters."""

    def __init__(self, chain: Chain, *, sees: Sees = "all") -> None:
        self.chain = chain
        self.sees = sees
        self._values: dict[str, dict[str, float]] = {}

    async def score(self, prefix: Prefix) -> StepScores:
        problem = prefix.problem
        if problem.gold not in self._values:
            self._values[problem.gold] = self.chain.values(problem.gold)
        values = self._values[problem.gold]
        scores: list[float] = []
        for number, step in enumerate(prefix.steps, 1):
            if step.startswith(ANSWER):
                before = scores[-1] if scores else values[START]
                scores.append(before if self.sees == "states" else float(extract(step) == problem.gold))
            else:
                state = START if self.sees == "answer" else state_of(self.chain, problem, prefix.steps[:number])
                scores.append(values[state])
        read = len(problem.question) + 1 + len(join(prefix.steps))
        return checked(prefix, scores, Cost(scored=read, requests=1))


class MiscalibratedReward:
    """Another reward model's probabilities, bent: the odds of each are raised to `gain` and multiplied by e ** `shift`.
    The curve is strictly monotone and keeps 0 and 1. A gain above 1 is a model too sure of itself, one below 1 too
    unsure; a shift above 0 one that thinks too well of everything."""

    def __init__(self, reward: RewardModel, *, gain: float = 1.0, shift: float = 0.0) -> None:
        if gain <= 0:
            raise InputError(f"a gain of {gain}", remedy="it is above 0, so that better scores stay better")
        self._reward = reward
        self._gain = gain
        self._shift = shift

    async def score(self, prefix: Prefix) -> StepScores:
        true = await self._reward.score(prefix)
        return checked(prefix, [self._bent(score) for score in true.scores], true.cost)

    def _bent(self, score: float) -> float:
        for_it = math.pow(score, self._gain) * math.exp(self._shift)
        against = math.pow(1 - score, self._gain)
        return for_it / (for_it + against)


def state_of(chain: Chain, problem: Problem, steps: tuple[str, ...]) -> str:
    """The state that the last step names. Raises InputError for one that the chain does not have."""
    state = steps[-1].split()[0]
    if state not in chain.moves and state not in chain.answers:
        raise InputError(f"step {steps[-1]!r} of problem {problem.id!r} names no state of the chain")
    return state


def _one(chances: Chances, rng: random.Random | None) -> str:
    """One of the names, drawn, or without a source of randomness the likeliest."""
    if rng is None:
        return max(chances, key=lambda name: chances[name])
    return rng.choices(list(chances), list(chances.values()))[0]
