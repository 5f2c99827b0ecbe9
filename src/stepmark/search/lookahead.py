"""Lookahead search (Snell et al. 2024, arXiv 2408.03314, section 5.2): a beam search in which a beam is worth what the
reward model says k greedy steps later.

The rollouts stop early where the solution ends, and are discarded: they are neither continued nor candidates. They cost
what they cost: N (k + 1) generations, as in the paper. search-and-learn draws them and then scores the beam without
them; here the rollout's end is what is scored, and the beam itself only where it has ended.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.beam import Beam, search_beams
from stepmark.search.settings import at_least
from stepmark.search.tree import Growing, SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookahead(Beam):
    """Beam search with k steps of lookahead; the paper tries 1 and 3."""

    k: int = 1
    """greedy steps; 0 is beam search"""

    def __post_init__(self) -> None:
        Beam.__post_init__(self)
        at_least(self, "k", 0)


async def lookahead(problem: Problem, policy: Policy, reward: RewardModel, settings: Lookahead) -> SearchResult:
    """Beams are judged by the ends of their rollouts."""
    tree = Tree(problem, policy, reward, settings)

    async def judge(nodes: Sequence[Growing]) -> None:
        await tree.score(node for node in nodes if node.finished)  # before the rollouts spend what is left
        ends = {node: node for node in nodes}
        going = [node for node in nodes if node.live]
        for _ in range(settings.k):
            rollouts = await tree.grow([(ends[node], 1) for node in going], score=False, rollout=True, temperature=0.0)
            whole = [(node, new[0]) for node, new in zip(going, rollouts, strict=True) if new and not new[0].cut]
            ends |= dict(whole)
            going = [node for node, end in whole if end.live]
        await tree.score(ends.values())
        for node, end in ends.items():
            node.key, node.value = end.key, end.value

    await search_beams(tree, settings, judge if settings.k else None)
    return tree.result("lookahead")
