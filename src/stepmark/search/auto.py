"""The compute-optimal strategy (Snell et al. 2024, arXiv 2408.03314, section 3): look how hard the problem is, then
search as a plan says.

A few solutions are drawn and scored; their mean score puts the problem into a bin of difficulty, and the plan
(`stepmark plan`) names the strategy for the bin and the budget. The paper leaves the cost of looking out; here it is in
the account like every other. Where the plan says to draw independent solutions in the same way, the first ones are
among them; any other strategy begins anew, with what is left of the budget.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from stepmark.budget.difficulty import predicted
from stepmark.budget.plan import Arm, Plan
from stepmark.errors import InputError
from stepmark.policies.base import Policy, seed_from
from stepmark.rewards.base import RewardModel
from stepmark.search.account import Account, Budget
from stepmark.search.parallel import Parallel
from stepmark.search.settings import Settings
from stepmark.search.tree import Node, SearchResult, Tree
from stepmark.types import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class Auto(Settings):
    """A plan that is followed. Of the common settings, budget, models and seed count; the plan has the others."""

    plan: Plan
    """by stepmark plan"""
    within: float
    """what to spend per problem, in the plan's unit: its choices for the largest of its budgets up to this are taken.
    This is what the plan's strategies cost in the mean over all problems; a limit that none exceeds is `budget`"""

    def __post_init__(self) -> None:
        Settings.__post_init__(self)
        plain = Settings()
        for name in ("choose", "temperature", "max_tokens", "max_step_tokens", "max_steps"):
            if getattr(self, name) != getattr(plain, name):
                raise InputError(f"{name} is the plan's to say", remedy="leave it out, or make another plan")
        if self.plan.measure != "predicted":
            raise InputError(
                f"the plan measures difficulty by the {self.plan.measure}, which needs the answers",
                remedy="make one with --measure predicted",
            )
        for arm in self.plan.arms:
            settings_of(arm)
        self.plan.arm(0.0, self.within)


async def auto(problem: Problem, policy: Policy, reward: RewardModel, settings: Auto) -> SearchResult:
    """A look, then the strategy for what was seen."""
    budget, models, seed = settings.budget, settings.models, settings.seed
    probe = replace(probe_of(settings.plan), budget=budget, models=models, seed=seed)
    tree = Tree(problem, policy, reward, probe)
    await tree.grow([(tree.root, probe.n)], whole=True)
    ease = predicted([None if node.key is None else node.value for node in tree.nodes])
    arm = settings.plan.arm(ease, settings.within)
    chosen = replace(settings_of(arm), models=models, seed=seed)
    left = _left(tree.account)
    if tree.exhausted or left is None:
        return tree.result("auto")
    if reuses(probe, chosen):
        tree.settings = chosen
        await tree.grow([(tree.root, chosen.n - probe.n)], whole=True, score=chosen.scored)
        await tree.score(tree.nodes if chosen.scored else [])  # as the plan aggregates; no step is read again
        return tree.result("auto")
    from stepmark.search.strategies import STRATEGIES  # of which this one is one

    search, _ = STRATEGIES[arm.strategy]
    return _after(
        tree,
        await search(
            problem, policy, reward, replace(chosen, budget=_both(left, chosen.budget), seed=seed_from(seed, "auto"))
        ),
    )


def probe_of(plan: Plan) -> Parallel:
    """How the solutions are drawn that a problem's ease is measured on."""
    probe: Parallel = settings_of(Arm("parallel", plan.probe))
    return replace(probe, n=plan.samples)


def reuses(probe: Parallel, chosen: Settings) -> bool:
    """Whether the solutions of the look are the first of those that the settings draw."""
    same = ("temperature", "max_tokens")
    return (
        isinstance(chosen, Parallel)
        and chosen.n >= probe.n
        and chosen.budget == Budget()
        and all(getattr(probe, name) == getattr(chosen, name) for name in same)
    )


def settings_of(arm: Arm) -> Any:
    """Of the strategy's class. Raises InputError where it has no such settings."""
    from stepmark.search import strategies  # of which this one is one

    return strategies.settings_of(arm.strategy, arm.settings)


def _left(account: Account) -> Budget | None:
    """What of the budget is left; None where nothing is."""
    whole = account.budget
    generations = None if whole.generations is None else whole.generations - account.generations
    tokens = None if whole.tokens is None else whole.tokens - account.tokens
    flops = None if whole.flops is None else whole.flops - account.flops.total
    if any(one is not None and one <= 0 for one in (generations, tokens, flops)):
        return None
    return Budget(generations, tokens, flops)


def _both(one: Budget, other: Budget) -> Budget:
    """What both allow."""
    limits = ((getattr(one, unit), getattr(other, unit)) for unit in ("generations", "tokens", "flops"))
    return Budget(*(min((limit for limit in pair if limit is not None), default=None) for pair in limits))


def _after(look: Tree, result: SearchResult) -> SearchResult:
    """One result of both: the solutions of the look are rollouts, drawn to judge the problem."""
    for node in look.nodes:
        node.fate = "rollout" if node.finished else node.fate
    seen = look.result("auto", [])
    before = len(seen.nodes)

    def moved(index: int | None) -> int | None:
        return None if index is None else index + before

    nodes = [replace(node, parent=moved(node.parent), revises=moved(node.revises)) for node in result.nodes]
    both = (*seen.nodes, *nodes)
    return replace(
        result,
        strategy="auto",
        chosen=moved(result.chosen),
        nodes=both,
        cost=seen.cost + result.cost,
        scoring=seen.scoring + result.scoring,
        generations=_generations(both),
        flops=None if seen.flops is None or result.flops is None else seen.flops + result.flops,
    )


def _generations(nodes: Sequence[Node]) -> int:
    """Steps sampled at the depth where they are most."""
    ends: list[int] = []
    drawn: dict[int, int] = {}
    for node in nodes:
        start = 0 if node.parent is None else ends[node.parent]
        ends.append(start + len(node.steps))
        for depth in range(start, start + max(len(node.steps), 1)):
            drawn[depth] = drawn.get(depth, 0) + 1
    return max(drawn.values(), default=0)
