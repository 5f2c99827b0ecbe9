"""Adaptive self-consistency (Aggarwal et al. 2023, arXiv 2305.11860): draw until the vote is decided.

After each round the two most frequent answers, with v1 and v2 votes, are compared: with a uniform prior, the chance
that the first is the more likely of the two is 1 - I(1/2; v1 + 1, v2 + 1), of the regularised incomplete beta function
(their Beta criterion). Sampling stops when it exceeds `confidence`, or at N samples.
"""

from collections import Counter
from dataclasses import dataclass
from math import comb

from stepmark.errors import InputError
from stepmark.grading import classes, extract
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.choose import Choice
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import SearchResult, Tree
from stepmark.steps import join
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Adaptive(Settings):
    """Adaptive self-consistency, with the paper's threshold and largest number of samples."""

    steered = False
    n: int = 40
    """samples at most"""
    batch: int = 1
    """samples of a round; more are quicker, and may draw up to batch - 1 too many"""
    confidence: float = 0.95
    choose: Choice = "majority"

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "n", 1)
        at_least(self, "batch", 1)
        if not 0.5 <= self.confidence <= 1:
            raise InputError(f"a confidence of {self.confidence}", remedy="it lies in 0.5 .. 1; 1 never stops early")


async def adaptive(problem: Problem, policy: Policy, reward: RewardModel | None, settings: Adaptive) -> SearchResult:
    """Rounds of samples until one answer leads surely enough."""
    tree = Tree(problem, policy, reward, settings)
    answers: list[str | None] = []
    while len(answers) < settings.n and lead(answers) <= settings.confidence and not tree.exhausted:
        wanted = min(settings.batch, settings.n - len(answers))
        [drawn] = await tree.grow([(tree.root, wanted)], whole=True, score=settings.scored)
        answers += [extract(join(one.steps)) if one.finished else None for one in drawn]
    return tree.result("adaptive")


def lead(answers_N: list[str | None]) -> float:
    """The chance that the most frequent answer so far is more likely than the second; one half before any answer."""
    votes = Counter(one for one in classes(answers_N) if one is not None).most_common(2)
    first, second = ([count for _, count in votes] + [0, 0])[:2]
    tosses = first + second + 1  # I(1/2; a, b) is the chance of at least a heads in a + b - 1 tosses
    return 1.0 - sum(comb(tosses, heads) for heads in range(first + 1, tosses + 1)) / (1 << tosses)
