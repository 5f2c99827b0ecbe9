"""Reward-balanced search (REBASE; Wu et al. 2024, arXiv 2408.00724, section 3.2): every open node is continued, the
better ones more often.

A width W is spread over the open nodes in proportion to exp(score / T), from the best down, rounded up, until it is
used. A solution that ended, or was cut, takes its share with it. The answer is a vote weighted by the scores, or the
best.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, isinf

from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebase(Settings):
    """Reward-balanced search, with the sampling temperature and depth of its published settings."""

    n: int = 16
    """width"""
    balance: float = 0.2
    """temperature of the softmax over scores; infinite: all nodes alike"""
    temperature: float = 1.0
    max_steps: int = 25

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "n", 1)
        at_least(self, "balance", 1e-9)


async def rebase(problem: Problem, policy: Policy, reward: RewardModel, settings: Rebase) -> SearchResult:
    """Each round spreads what is left of the width over the nodes that are open."""
    tree = Tree(problem, policy, reward, settings)
    requests, width = [(tree.root, settings.n)], settings.n
    for _ in range(settings.max_steps):
        grown = [node for nodes in await tree.grow(requests) for node in nodes]
        width -= sum(not node.live for node in grown)
        new = tree.distinct(grown)
        if tree.exhausted or not width:
            break
        ranked = tree.rank(node for node in new if node.live)
        shares = allocate([node.value for node in ranked], width, settings.balance)
        requests = [(node, n) for node, n in zip(ranked, shares, strict=True) if n]
        tree.keep(ranked, len(requests))
        if not requests:
            break
    return tree.result("rebase")


def allocate(scores: Sequence[float], width: int, balance: float) -> list[int]:
    """How often each of the nodes, best first, is continued: ceil(width * w / sum of w) of what is left, w =
    exp(score / balance), and then the same for the rest. The shares add up to `width`, unless there are no nodes."""
    weights = [1.0 if isinf(balance) else exp((score - scores[0]) / balance) for score in scores]
    shares = []
    for i, weight in enumerate(weights):
        total = sum(weights[i:])
        shares.append(min(width, ceil(width * weight / total - 1e-9)) if total > 0 else 0)
        width -= shares[-1]
    return shares
