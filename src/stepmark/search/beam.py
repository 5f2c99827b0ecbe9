"""Beam search over steps (Snell et al. 2024, arXiv 2408.03314, section 5.2).

1. Sample N first steps. 2. Score each. 3. Keep the N / M best. 4. Sample M continuations from each, and go on until all
ended, or for `max_steps` rounds. The answer is a weighted vote over the finished solutions.

Where the paper is silent, and public code differs:
- A beam that finished, or was cut, takes its place with it: the rest goes on with fewer. search-and-learn refills to N,
  which samples more than the N generations that are counted.
- Copies of a beam are dropped before the best are kept, and do not vote. There they fill the width, and vote.
- The width is spread over the kept beams evenly; the best ones take the remainder.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import Growing, Request, SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Beam(Settings):
    """Beam search over steps; the paper's M is 4, or the square root of N."""

    n: int = 16
    """width: steps sampled in a round"""
    m: int = 4
    """continuations of each kept beam"""

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "m", 1)
        if self.n < self.m:
            raise InputError(f"a width of {self.n} for {self.m} continuations of each beam", remedy="n is at least m")


async def beam(problem: Problem, policy: Policy, reward: RewardModel, settings: Beam) -> SearchResult:
    """Beams are judged as they stand."""
    tree = Tree(problem, policy, reward, settings)
    await search_beams(tree, settings)
    return tree.result("beam")


async def search_beams(
    tree: Tree, settings: Beam, judge: Callable[[Sequence[Growing]], Awaitable[None]] | None = None
) -> None:
    """The rounds of a beam search; `judge` sets what new nodes are ranked by, by default their own scores."""
    beams, width = [tree.root], settings.n
    for _ in range(settings.max_steps):
        grown = [node for nodes in await tree.grow(spread(beams, width), score=judge is None) for node in nodes]
        new = tree.distinct(grown)
        if judge is not None:
            await judge(new)
        width -= sum(not node.live for node in grown)
        if tree.exhausted or width == 0:
            return
        beams = tree.keep([node for node in new if node.live], -(-width // settings.m))
        if not beams:
            return


def spread(beams: Sequence[Growing], width: int) -> list[Request]:
    """`width` continuations spread over the beams as evenly as they go; the first take one more."""
    each, more = divmod(width, len(beams))
    return [(one, each + (i < more)) for i, one in enumerate(beams) if each + (i < more)]
