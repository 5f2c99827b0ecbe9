"""Early rejection: best-of-N whose hopeless solutions are given up on the way.

N solutions grow side by side, a step each round; after every `every` rounds the share `reject` with the lowest scores
so far is given up, and nothing takes its place (Speculative Rejection, Sun et al. 2024, arXiv 2410.20290, whose share
is 1/2). The paper looks when memory runs out, not after a number of steps, and scores with an outcome reward model;
here a process reward model judges the steps. With reject = 0 it is best-of-N: the solutions are independent, and copies
count as there.
"""

from dataclasses import dataclass

from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.choose import Choice
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection(Settings):
    """Best-of-N with early rejection."""

    n: int = 16
    """solutions at the start"""
    reject: float = 0.5
    """share of the open solutions that is given up at a time; at least one stays"""
    every: int = 4
    """rounds of one step between rejections"""
    choose: Choice = "best"

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "n", 1)
        at_least(self, "every", 1)
        if not 0 <= self.reject < 1:
            raise InputError(f"a share of {self.reject} to reject", remedy="it lies in 0 .. 1, without 1")


async def rejection(problem: Problem, policy: Policy, reward: RewardModel, settings: Rejection) -> SearchResult:
    """All open solutions take a step; now and then the worst are given up."""
    tree = Tree(problem, policy, reward, settings)
    requests = [(tree.root, settings.n)]
    for turn in range(1, settings.max_steps + 1):
        grown = [node for nodes in await tree.grow(requests) for node in nodes]
        if tree.exhausted:
            break
        live = [node for node in grown if node.live]
        rejected = int(settings.reject * len(live)) if turn % settings.every == 0 else 0
        requests = [(node, 1) for node in tree.keep(live, len(live) - rejected)]
        if not requests:
            break
    return tree.result("rejection")
