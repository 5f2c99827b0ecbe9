"""Particle filtering (Puri et al. 2025, arXiv 2502.01618, algorithm 1): N partial solutions take a step each, are
weighed by the reward model, and are drawn anew in proportion to their weights, until all have ended.

A particle's log-weight is the logit of its score. A softmax at temperature `tau` makes the chances of the next
generation; a particle that has ended takes part with the weight it had, and takes up its place. Copies of a particle go
different ways at the next step, and the answer counts each finished solution once.

Departures, and choices that the paper leaves to its code:
- `weight`: "absolute" takes the logit of the whole partial at each step, as the authors' code; "incremental" takes the
  change since the last resampling, which is the textbook's weight (Del Moral et al. 2006): a good start is paid once.
- `resampling`: the authors draw independently (multinomial); systematic, stratified and residual draws have the same
  expectation and less variance (Douc et al. 2005).
- Their code draws from one global random number generator; here the search's seed decides.

Not covered: Particle Gibbs (their section 3.3), and temperatures that change on the way.
"""

import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import exp, log
from typing import Literal

from stepmark.errors import ScoreError
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.choose import Choice
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import Growing, SearchResult, Tree
from stepmark.types import Problem

Resampling = Literal["multinomial", "systematic", "stratified", "residual"]
CLIP = 1e-7
"""scores are taken no closer to 0 and 1, as in the authors' code"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Particles(Settings):
    """Particle filtering; the answer is that of the heaviest particle."""

    n: int = 16
    """particles"""
    tau: float = 1.0
    """temperature of the softmax over log-weights"""
    resampling: Resampling = "multinomial"
    weight: Literal["absolute", "incremental"] = "absolute"
    choose: Choice = "best"

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "n", 1)
        at_least(self, "tau", 1e-9)


async def particles(problem: Problem, policy: Policy, reward: RewardModel, settings: Particles) -> SearchResult:
    """Each round: step, weigh, resample."""
    tree = Tree(problem, policy, reward, settings)
    swarm = [tree.root] * settings.n
    for turn in range(settings.max_steps):
        copies = Counter(node for node in swarm if node.live)
        grown = await tree.grow(list(copies.items()))
        children = {node: iter(new) for node, new in zip(copies, grown, strict=True)}
        moves = [(node, next(children[node], None) if node.live else node) for node in swarm]
        weighed = [(old, new) for old, new in moves if new is not None and new.key is not None]
        swarm = [new for _, new in weighed]
        if tree.exhausted or not any(node.live for node in swarm):
            break
        weights = [_logit(new) - (_logit(old) if settings.weight == "incremental" else 0.0) for old, new in weighed]
        chances = softmax(weights, settings.tau)
        drawn = resample(chances, settings.n, settings.resampling, tree.rng("resample", str(turn)))
        for node in swarm:
            node.fate = "dropped"
        swarm = [swarm[i] for i in drawn]
        for node in swarm:
            node.fate = "kept" if node.live else "finished"
    return tree.result("particles", tree.distinct(node for node in dict.fromkeys(swarm) if node.finished))


def softmax(weights_N: Sequence[float], tau: float) -> list[float]:
    """exp(weight / tau), normalised."""
    largest = max(weights_N)
    raw = [exp((weight - largest) / tau) for weight in weights_N]
    return [one / sum(raw) for one in raw]


def resample(chances_N: Sequence[float], n: int, how: Resampling, rng: random.Random) -> list[int]:
    """`n` indices, each drawn n times its chance in expectation.

    multinomial: independent draws. systematic, stratified: the points (u + i) / n of the cumulated chances, with one u
    or one for each i. residual: the whole part of n times the chance is certain, the rest is drawn.
    """
    everyone = range(len(chances_N))
    if how == "multinomial":
        return rng.choices(everyone, chances_N, k=n)
    if how == "residual":
        sure = [i for i in everyone for _ in range(int(n * chances_N[i] + 1e-9))]
        rest = [max(n * chance - int(n * chance + 1e-9), 0.0) for chance in chances_N]
        return sure + (rng.choices(everyone, rest, k=n - len(sure)) if len(sure) < n else [])
    offset = rng.random()
    points = [(i + (offset if how == "systematic" else rng.random())) / n for i in range(n)]
    ends = list(accumulate(chances_N))
    return [min(bisect_right(ends, point), len(ends) - 1) for point in points]


def _logit(node: Growing) -> float:
    """The log-odds of a particle's score; 0, even odds, of the problem itself."""
    if node.key is None:
        return 0.0
    if not 0 <= node.value <= 1:
        raise ScoreError(f"the score {node.value} has no log-odds", remedy="particles need probabilities in [0, 1]")
    inside = min(max(node.value, CLIP), 1 - CLIP)
    return log(inside / (1 - inside))
