"""Sequential revision (Snell et al. 2024, arXiv 2408.03314, section 6): each attempt is written with the earlier ones
in sight, in chains that run side by side.

N attempts are split into `chains` parallel chains of N / chains sequential attempts; any split between all parallel and
all sequential is a setting, since the best one depends on how hard a problem is (their figure 7). Revisions also spoil
right answers (38 % of them in the paper), so the answer is chosen over the whole chain, not taken from its end: first
within each chain, then across the chains' winners, or among all attempts at once.

The policy sees the question followed by its last `context` attempts, as `asks` writes them. A policy must be trained to
make use of that (section 6.1); data for it are written with the same function. The reward model sees each attempt as a
solution of the question alone; the paper trains one that sees the history too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.choose import Choice
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import Growing, SearchResult, Tree
from stepmark.steps import join
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Revise(Settings):
    """Sequential revision; the paper chooses within and across chains by the same means."""

    steered = False
    n: int = 16
    """attempts in all"""
    chains: int = 4
    """side by side; it divides n. 1: all sequential, n: all parallel"""
    context: int = 4
    """earlier attempts that the policy sees, the last ones"""
    within: Choice | None = "weighted"
    """the choice within a chain; None: all attempts compete at once"""

    @property
    def scored(self) -> bool:
        return bool({self.choose, self.within} - {"majority", None})

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        for name in ("n", "chains", "context"):
            at_least(self, name, 1)
        if self.n % self.chains:
            raise InputError(f"{self.n} attempts in {self.chains} chains", remedy="n is a multiple of chains")


async def revise(problem: Problem, policy: Policy, reward: RewardModel | None, settings: Revise) -> SearchResult:
    """One attempt of every chain at a time."""
    tree = Tree(problem, policy, reward, settings)
    [first] = await tree.grow([(tree.root, settings.chains)], whole=True, score=settings.scored)
    chains = [[attempt] for attempt in first]
    for turn in range(1, settings.n // settings.chains):
        if tree.exhausted:
            break
        asked = [_next(tree, chain, settings.context, turn) for chain in chains]
        grown = await tree.grow([(one, 1) for one in asked], whole=True, score=settings.scored)
        for chain, attempts in zip(chains, grown, strict=True):
            for attempt in attempts:
                attempt.revises = chain[-1]
                chain.append(attempt)
    if settings.within is None:
        return tree.result("revise")
    finished = [[attempt for attempt in chain if attempt.finished] for chain in chains]
    winners = [tree.choose(chain, settings.within, str(c)) for c, chain in enumerate(finished)]
    return tree.result("revise", [winner for winner in winners if winner is not None])


def asks(problem: Problem, attempts: Sequence[Sequence[str]]) -> Problem:
    """The problem as a policy that revises sees it: the question, and after it the steps of each earlier attempt under
    a line `Attempt:`, and a last line `Revision:`."""
    if not attempts:
        return problem
    shown = "".join(f"Attempt:\n{join(steps)}" for steps in attempts)
    return replace(problem, question=f"{problem.question}\n{shown}Revision:")


def _next(tree: Tree, chain: Sequence[Growing], context: int, turn: int) -> Growing:
    """Where the next attempt of a chain begins. An attempt that was cut is shown as far as it went."""
    problem = asks(tree.problem, [attempt.steps for attempt in chain[-context:]])
    return tree.asking(problem, *chain[0].place, f"revision {turn}")
