"""Diverse verifier tree search (Beeching et al. 2024, "Scaling test-time compute with open models", Hugging Face): N /
M independent subtrees, so that one well-scored mistake cannot take the whole width.

In each subtree M steps are sampled from the one that was kept, and the best of them is kept, until that one has ended.
All solutions that finished on the way are candidates. Where several of the M finish, fewer are sampled afterwards, as
in every strategy here. Subtrees do not see each other: two that begin alike both go on, and differ by their seeds; a
solution that both finish votes once.
"""

from dataclasses import dataclass

from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Dvts(Settings):
    """Diverse verifier tree search."""

    n: int = 16
    """steps sampled in a round, over all subtrees"""
    m: int = 4
    """steps sampled in a round of one subtree; it divides n"""

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "m", 1)
        at_least(self, "n", 1)
        if self.n % self.m:
            raise InputError(f"{self.n} steps cannot be split into subtrees of {self.m}", remedy="n is a multiple of m")


async def dvts(problem: Problem, policy: Policy, reward: RewardModel, settings: Dvts) -> SearchResult:
    """Greedy by reward in each subtree; all subtrees take their steps together."""
    tree = Tree(problem, policy, reward, settings)
    subtrees = [(tree.root, settings.m)] * (settings.n // settings.m)
    for _ in range(settings.max_steps):
        grown = await tree.grow(subtrees)
        following = []
        for (_, width), nodes in zip(subtrees, grown, strict=True):
            tree.distinct(node for node in nodes if node.finished)
            if tree.exhausted:
                continue
            left = width - sum(not node.live for node in nodes)
            best = tree.rank(node for node in nodes if not node.cut)[:1]
            goes_on = left > 0 and any(node.live for node in best)
            kept = tree.keep([node for node in nodes if node.live], int(goes_on))
            following += [(node, left) for node in kept]
        subtrees = following
        if not subtrees:
            break
    return tree.result("dvts")
