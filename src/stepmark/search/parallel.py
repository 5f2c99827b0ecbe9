"""N independent solutions, and a choice among them: best-of-N, weighted vote, majority (self-consistency).

The samples are independent, so that results for fewer follow from those for many (`stepmark.evaluate.estimators`), and
copies vote as often as they were drawn: that is what is counted. What is drawn equals `stepmark.policies.draw` with the
same seed.
"""

from dataclasses import dataclass

from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.choose import Choice
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Parallel(Settings):
    """N independent solutions; `choose` "best" is best-of-N (Cobbe et al. 2021, arXiv 2110.14168)."""

    steered = False
    n: int = 16
    choose: Choice = "best"

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        at_least(self, "n", 1)


async def parallel(problem: Problem, policy: Policy, reward: RewardModel | None, settings: Parallel) -> SearchResult:
    """Draws N solutions at once. A majority vote asks the reward model nothing."""
    tree = Tree(problem, policy, reward, settings)
    await tree.grow([(tree.root, settings.n)], whole=True, score=settings.scored)
    return tree.result("parallel")
