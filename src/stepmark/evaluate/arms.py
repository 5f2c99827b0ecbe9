"""Recorded searches as figures: what was right, what it cost, how hard each problem is, and best-of-N as a pool."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from stepmark.budget.difficulty import Measure, pass_rate, predicted
from stepmark.budget.flops import flops
from stepmark.budget.plan import Arm, Unit
from stepmark.errors import InputError
from stepmark.evaluate.pool import Graded, Scored
from stepmark.evaluate.searches import names, same_problems
from stepmark.grading import classes, grade
from stepmark.search.parallel import Parallel
from stepmark.search.settings import Settings
from stepmark.search.solve import Searches
from stepmark.search.tree import Node, SearchResult
from stepmark.types import Problem

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Table:
    """Every arm on every problem; runs that differ by their seeds alone are one arm, the mean of them."""

    problems: tuple[Problem, ...]
    arms: tuple[Arm, ...]
    names: tuple[str, ...]
    settings: tuple[Settings, ...]
    """of each arm"""
    values_P_A: Floats
    """share of right answers; an ungraded one is not known to be right"""
    costs_P_A: Floats
    """in the unit that was asked for"""


def table(runs: Sequence[Searches], unit: Unit) -> Table:
    """Raises InputError: no runs, runs of different problems or by different models, one run twice, or FLOPs of unknown
    sizes."""
    runs = aligned(runs)
    for run in runs:
        if run.setup.policy != runs[0].setup.policy:
            raise InputError(f"it has another policy than {runs[0].path}", path=run.path, remedy="compare one policy's")
    scored = [run for run in runs if run.setup.settings.scored]
    for run in scored:
        if run.setup.reward != scored[0].setup.reward:
            raise InputError(
                f"it has another reward model than {scored[0].path}", path=run.path, remedy="plan for one of them"
            )
    groups: dict[bytes, list[Searches]] = {}
    for run in runs:
        same = groups.setdefault(msgspec.json.encode(arm_of(run)), [])
        if any(one.setup.settings.seed == run.setup.settings.seed for one in same):
            raise InputError(f"it is the same search as {same[0].path}", path=run.path, remedy="give it once")
        same.append(run)
    columns = list(groups.values())
    return Table(
        runs[0].problems,
        tuple(arm_of(column[0]) for column in columns),
        tuple(name for _, name in names([column[0] for column in columns])),
        tuple(column[0].setup.settings for column in columns),
        np.array([np.mean([right(run) for run in column], axis=0) for column in columns]).T,
        np.array([np.mean([spent(run, unit) for run in column], axis=0) for column in columns]).T,
    )


def aligned(runs: Sequence[Searches]) -> list[Searches]:
    """The runs with the problems of all in the order of the first. Raises InputError where one has others."""
    problems = same_problems(runs)
    return [_in_order(run, problems) for run in runs]


def _in_order(run: Searches, problems: tuple[Problem, ...]) -> Searches:
    place = {one.id: i for i, one in enumerate(run.problems)}
    order = [place[one.id] for one in problems]
    return replace(
        run,
        problems=problems,
        results=tuple(run.results[i] for i in order),
        seconds=tuple(run.seconds[i] for i in order),
    )


def arm_of(run: Searches) -> Arm:
    """The strategy and its settings, the models' sizes and the seed aside."""
    named: dict[str, Any] = msgspec.to_builtins(run.setup.settings)
    return Arm(run.setup.strategy, {name: one for name, one in named.items() if name not in ("models", "seed")})


def right(run: Searches) -> list[bool]:
    """Whether each answer is right."""
    return [grade(problem, one.answer).correct for problem, one in zip(run.problems, run.results, strict=True)]


def spent(run: Searches, unit: Unit) -> list[float]:
    """What each search cost."""
    return [_cost(run, one, unit) for one in run.results]


def _cost(run: Searches, result: SearchResult, unit: Unit) -> float:
    if unit == "generations":
        return float(result.generations)
    if unit == "tokens":
        return float(result.cost.generated)
    if result.flops is None:
        raise InputError("the models' sizes are not known", path=run.path, remedy="count in tokens, or give --size")
    return result.flops.total


def looked(run: Searches, measure: Measure, samples: int, unit: Unit) -> tuple[list[float], Floats]:
    """The ease of each problem by the first `samples` solutions of a run of `parallel`, and what they cost to draw and
    to judge, shape [P, 2]. Raises InputError for another strategy, one without scores, or fewer samples."""
    settings = run.setup.settings
    if not isinstance(settings, Parallel) or settings.n < samples:
        raise InputError(
            f"it has no {samples} independent solutions", path=run.path, remedy="run parallel with as many"
        )
    if measure == "predicted" and not settings.scored:
        raise InputError("its solutions have no scores", path=run.path, remedy="run parallel with another --choose")
    ease, costs = [], []
    for problem, result in zip(run.problems, run.results, strict=True):
        nodes = result.nodes[:samples]
        if measure == "oracle":
            ease.append(pass_rate([grade(problem, node.answer).correct for node in nodes]))
        else:
            ease.append(predicted([node.value for node in nodes]))
        costs.append(_drawing(run, nodes, unit))
    return ease, np.array(costs)


def _drawing(run: Searches, nodes: Sequence[Node], unit: Unit) -> tuple[float, float]:
    """What the policy and the reward model spent on nodes."""
    if unit == "generations":
        return float(len(nodes)), 0.0
    if unit == "tokens":
        return float(sum(node.cost.generated for node in nodes)), 0.0
    models = run.setup.settings.models
    if models is None:
        raise InputError("the models' sizes are not known", path=run.path, remedy="count in tokens, or give --size")
    judged = 0.0 if models.reward is None else sum(flops(models.reward, node.scoring) for node in nodes)
    return sum(flops(models.policy, node.cost) for node in nodes), judged


def pool(run: Searches, name: str) -> tuple[list[Graded], Scored | None]:
    """A run of `parallel` as a pool of candidates, for `stepmark.evaluate.pool.compare`: accuracy with n of them as the
    exact expectation over all subsets of size n. None: it has no scores.

    Raises InputError for another strategy, whose solutions are not independent, and for a run that a budget cut short.
    """
    if not isinstance(run.setup.settings, Parallel):
        why = f"solutions of {run.setup.strategy} are not independent: a part of them is no smaller search"
        raise InputError(why, path=run.path, remedy="give a run of parallel")
    if any(one.exhausted for one in run.results):
        raise InputError("a budget ended some of its searches", path=run.path, remedy="run it without")
    graded = [
        Graded(
            problem.id,
            tuple(None if (v := grade(problem, n.answer)).value == "ungraded" else v.correct for n in result.nodes),
            tuple(classes([node.answer for node in result.nodes])),
            tuple(node.cost.generated for node in result.nodes),
        )
        for problem, result in zip(run.problems, run.results, strict=True)
    ]
    if not run.setup.settings.scored:
        return graded, None
    scores_P_N_S = [[node.scores for node in result.nodes] for result in run.results]
    tokens_P_N = [[node.scoring.scored for node in result.nodes] for result in run.results]
    return graded, Scored(name, run.setup.settings.combine, scores_P_N_S, tokens_P_N)
