"""The searches of many problems, on record: written here, read here.

A run of searches holds `problems`, `searches` (the whole tree of each) and `timings`. What a search gives is a function
of its problem and the run's `Setup`; how long it took is not, and stands apart, so that equal searches are equal
records. With a model in this process two things hang on what else it was reading: how many prompt tokens came from the
cache (so the split between `prompt` and `cached`, FLOPs, and where a budget in FLOPs ends a search), and the last bits
of log-probabilities. A run that was killed and resumed may differ in those; trees, answers and generated tokens do not.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import msgspec

from stepmark.errors import InputError, RecordError
from stepmark.policies.base import Policy
from stepmark.records import Job, Manifest, Run, complete, read, read_manifest
from stepmark.rewards.base import RewardModel
from stepmark.search.account import Account
from stepmark.search.auto import Auto
from stepmark.search.strategies import STRATEGIES, settings_of
from stepmark.search.tree import SearchResult
from stepmark.types import Problem


@dataclass(frozen=True, slots=True)
class Setup:
    """All that a run's searches depend on: what its manifest holds."""

    strategy: str
    """a name in `STRATEGIES`"""
    settings: Any
    """of its class; in a manifest, by their names"""
    policy: dict[str, Any]
    """who writes: `name` and what else tells it apart"""
    reward: dict[str, Any] | None
    """who scores, alike; None: nobody"""


@dataclass(frozen=True, slots=True)
class Timing:
    """The seconds from the first request of a search to its answer, while others ran beside it. A search that a kill
    left without its record is done again, and has two: the last one counts."""

    problem_id: str
    index: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Searches:
    """A finished run of searches, in the order of its problems."""

    path: Path
    setup: Setup
    """with settings of the strategy's class"""
    problems: tuple[Problem, ...]
    results: tuple[SearchResult, ...]
    seconds: tuple[float | None, ...]
    """None: lost"""


def check(setup: Setup, *, scored: bool) -> None:
    """Raises InputError for what no search can be done with: a budget that is none, a strategy that reads scores where
    nobody gives them (`scored`), sums of logits where scores are weights, a plan that was made with other models: their
    scores would mean something else."""
    if isinstance(setup.settings, Auto):
        made = setup.settings.plan
        for what, was, now in (("policy", made.policy, setup.policy), ("reward model", made.reward, setup.reward)):
            if was != now:
                raise InputError(f"the plan was made with the {what} {was}, not {now}", remedy="make one with this")
    Account(setup.settings.budget, setup.settings.models)
    weights = setup.settings.choose == "weighted" or setup.strategy in ("particles", "mcts")
    if setup.settings.combine == "logits" and weights:
        remedy = "--choose best, with another strategy than particles and mcts, or another --aggregate"
        raise InputError("a sum of logits may be negative, and is no weight", remedy=remedy)
    if setup.settings.scored and not scored:
        remedy = "give one, or a strategy that takes a majority (parallel, adaptive, revise)"
        raise InputError(f"{setup.strategy}, as it is set, needs a reward model", remedy=remedy)


async def solve(
    run: Run,
    problems: Sequence[Problem],
    policy: Policy,
    reward: RewardModel | None,
    setup: Setup,
    *,
    aside: Callable[[SearchResult], str] = lambda result: "",
) -> list[SearchResult]:
    """The searches of all problems, awaited at once, in the problems' order. What is on record is not searched again;
    `aside` may add words to the progress as results come (see `complete`).

    Raises InputError where two problems share an id, and as `check` does.
    """
    check(setup, scored=reward is not None)
    search = STRATEGIES[setup.strategy][0]

    def job(problem: Problem) -> Job[SearchResult]:
        async def work() -> list[SearchResult]:
            began = time.monotonic()
            result = await search(problem, policy, reward, setup.settings)
            run.append("timings", Timing(problem.id, 0, time.monotonic() - began))
            return [result]

        return Job(((problem.id, 0),), work)

    return await complete(
        run,
        "searches",
        SearchResult,
        [job(problem) for problem in problems],
        title="searches",
        unit="problems",
        spent=lambda result: result.cost + result.scoring,
        aside=aside,
    )


def read_searches(path: str | PathLike[str]) -> Searches:
    """Raises RecordError where `path` is no run of searches, or where problems are not searched yet."""
    path = Path(path)
    manifest = read_manifest(path)
    setup = _setup(manifest, path)
    problems = tuple(read(path / manifest.file("problems"), Problem))
    searches, timings = path / manifest.file("searches"), path / manifest.file("timings")
    found = {one.problem_id: one for one in read(searches, SearchResult)} if searches.exists() else {}
    seconds = {one.problem_id: one.seconds for one in read(timings, Timing)} if timings.exists() else {}
    if missing := [one for one in problems if one.id not in found]:
        raise RecordError(
            f"{len(missing)} of {len(problems)} problems are not searched yet",
            path=path,
            remedy="run the same stepmark search again: it resumes",
        )
    return Searches(
        path,
        setup,
        problems,
        tuple(found[one.id] for one in problems),
        tuple(seconds.get(one.id) for one in problems),
    )


def _setup(manifest: Manifest, path: Path) -> Setup:
    """The manifest's settings in their classes."""
    try:
        setup = msgspec.convert(manifest.settings, Setup)
        settings = settings_of(setup.strategy, setup.settings)
    except (msgspec.ValidationError, InputError, AttributeError) as error:
        raise RecordError(
            f"it is no run of searches: {error}", path=path, remedy="give a run of stepmark search"
        ) from None
    return Setup(setup.strategy, settings, setup.policy, setup.reward)
