"""Monte Carlo tree search over steps, guided by a reward model: PUCT, as AlphaZero (Silver et al. 2017, arXiv
1712.01815) and, for language models, OpenR (Wang et al. 2024, arXiv 2410.09671) use it.

One path after the other goes from the problem to the end of a solution. At a node without children, `width` steps are
sampled and scored. At each node the path takes the child with the largest

    Q + (log((V + c_base + 1) / c_base) + c_init) * P * sqrt(V) / (1 + v)

where V and v are the visits of the node and the child, Q the mean of what the child's visits were worth and, before the
first, its own score; P is the child's share of exp(mean log-probability of its tokens), after the policy. What the path
is worth is added to every node on it: the score of the solution that it ends in, or the mean score of `rollouts` whole
solutions drawn where the path leaves the known tree. Every path draws something: none goes again to a finished
solution, or below a node whose children have all been followed to their ends. In a game it would, where the best move
is what is looked for; here it is the solutions that are found on the way.

The answer is chosen among all finished solutions, rollouts included: they are paid for.

With one path this is greedy by reward, since no node has been visited yet: DVTS with one subtree. Not covered: a value
network of its own, and paths of one problem at the same time.
"""

from dataclasses import dataclass
from math import exp, log, sqrt
from statistics import fmean
from typing import Literal

from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.settings import Settings, at_least
from stepmark.search.tree import Growing, SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Mcts(Settings):
    """Monte Carlo tree search, with OpenR's constants."""

    paths: int = 8
    """from the problem to the end of a solution"""
    width: int = 4
    """steps sampled at a node"""
    value: Literal["reward", "rollout"] = "reward"
    """what a path is worth: the score of its end, or of rollouts from where it left the known tree"""
    rollouts: int = 1
    """whole solutions that make a value"""
    c_base: float = 19652.0
    """visits from which exploration grows with them"""
    c_init: float = 1.25
    """weight of exploration; at 0 the search goes where the scores are best"""

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        for name in ("paths", "width", "rollouts"):
            at_least(self, name, 1)
        at_least(self, "c_base", 1e-9)


@dataclass(eq=False, slots=True)
class _Branch:
    """A node of the tree with its statistics."""

    node: Growing
    prior: float = 1.0
    visits: int = 0
    worth: float = 0.0
    """sum over visits"""
    children: "list[_Branch] | None" = None
    """None: not yet continued"""
    closed: bool = False
    """nothing new can be drawn from here"""

    @property
    def mean(self) -> float:
        return self.worth / self.visits if self.visits else self.node.value


async def mcts(problem: Problem, policy: Policy, reward: RewardModel, settings: Mcts) -> SearchResult:
    """Paths one after the other: down the tree, what the path is worth, back up."""
    tree = Tree(problem, policy, reward, settings)
    root = _Branch(tree.root)
    for _ in range(settings.paths):
        if root.closed:
            break
        path = [root]
        while path[-1].node.live and len(path) <= settings.max_steps:
            known = path[-1].children is not None
            if not known:
                path[-1].children = await _expand(tree, path[-1].node, settings)
            if not path[-1].children:
                break
            path.append(_select(tree, path[-1], settings))
            if settings.value == "rollout" and not known:
                break
        if tree.exhausted:
            break
        worth = await _worth(tree, path[-1].node, settings)
        for branch in reversed(path):
            branch.visits += 1
            branch.worth += worth
            branch.closed = _closed(branch, end=len(path) > settings.max_steps)
    return tree.result("mcts")


async def _expand(tree: Tree, node: Growing, settings: Mcts) -> list[_Branch]:
    """The distinct, scored steps after a node, with their priors."""
    [grown] = await tree.grow([(node, settings.width)])
    node.fate = "kept"
    new = tree.rank(tree.distinct(grown))
    raw = [exp(fmean(child.own.logprobs)) if child.own and child.own.logprobs else 1.0 for child in new]
    return [_Branch(child, one / sum(raw)) for child, one in zip(new, raw, strict=True)]


def _closed(branch: _Branch, *, end: bool) -> bool:
    """Whether nothing new can be drawn from a branch, at the `end` of the longest path that may be or before."""
    if not branch.node.live:
        return True
    return end if branch.children is None else all(child.closed for child in branch.children)


def _select(tree: Tree, branch: _Branch, settings: Mcts) -> _Branch:
    """Of the children from which something can be drawn, the one with the largest upper bound, ties broken by lot."""
    rate = log((branch.visits + settings.c_base + 1) / settings.c_base) + settings.c_init

    def bound(child: _Branch) -> tuple[float, int]:
        explore = rate * child.prior * sqrt(branch.visits) / (1 + child.visits)
        return child.mean + explore, -tree.lot(child.node)

    return max((child for child in branch.children or () if not child.closed), key=bound)


async def _worth(tree: Tree, node: Growing, settings: Mcts) -> float:
    """What the path to a node is worth; a path that leads to no finished solution is worth 0, the least score."""
    if node.finished:
        return node.value
    if settings.value == "reward" or not node.live:
        return 0.0
    [rollouts] = await tree.grow([(node, settings.rollouts)], whole=True)
    tree.distinct(rollouts)
    return fmean(one.value if one.finished and one.key is not None else 0.0 for one in rollouts) if rollouts else 0.0
