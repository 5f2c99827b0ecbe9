"""`stepmark search`: problems answered by a test-time strategy, on record."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import tyro

from stepmark.cli.models import PolicyOptions, RewardOptions
from stepmark.cli.strategy import settings_of
from stepmark.errors import InputError
from stepmark.search.account import Models
from stepmark.search.auto import Auto
from stepmark.search.settings import Settings

if TYPE_CHECKING:
    from stepmark.records import Run
    from stepmark.search.solve import Setup
    from stepmark.search.tree import SearchResult
    from stepmark.types import Problem

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True, kw_only=True)
class Search(Generic[S]):
    """Answers problems by searching: steps or solutions are drawn from a policy, a reward model says which to follow.

    adaptive: solutions until the vote is decided. auto: what a plan says (stepmark plan). beam: the best steps are
    continued. dvts: beams in subtrees that do not see each other. lookahead: beam search that judges a step by how it
    goes on. mcts: paths chosen by PUCT. parallel: best-of-n, weighted vote or majority (--choose). particles: steps are
    resampled by their scores. rebase: steps are continued in proportion to their scores. rejection: best-of-n whose
    hopeless solutions are given up. revise: each attempt sees the earlier ones.

    --help after --strategy NAME tells that strategy's settings. The run holds the problems and, in searches.jsonl.gz,
    each whole tree with its scores and costs, for stepmark compare. Interrupted or killed, run the same command again:
    it goes on where it was.

    stepmark search --strategy beam --n 16 --m 4 --reward bundled --problems p.jsonl --out runs/beam

    stepmark search --strategy parallel --choose majority --n 16 --problems p.jsonl --out runs/majority

    stepmark search --strategy rebase --budget.tokens 2000 --reward oracle --problems quantities.jsonl --out runs/c
    """

    strategy: Annotated[str, tyro.conf.arg(metavar="NAME")]
    """which strategy"""
    problems: Path
    """the problems: JSON lines with id, question and gold, plain or .gz"""
    out: Path
    """the run's directory"""
    settings: Annotated[tyro.conf.AvoidSubcommands[S], tyro.conf.arg(name="")]
    by: Annotated[PolicyOptions, tyro.conf.arg(name="")] = field(default_factory=PolicyOptions)
    judge: Annotated[RewardOptions, tyro.conf.arg(name="")] = field(default_factory=RewardOptions)
    size: Path | None = None
    """the directory with the config.json of the model behind a server, so that FLOPs can be counted"""

    @classmethod
    def of(cls, args: Sequence[str]) -> Any:
        """With the settings of the strategy that is named."""
        return cast(Any, cls)[settings_of(args)]

    def run(self) -> int:
        import asyncio

        from stepmark import problems
        from stepmark.records import Run, pace
        from stepmark.search.solve import Setup, check
        from stepmark.search.tree import SearchResult
        from stepmark.types import Cost

        self.by.check()
        chosen = problems.read(self.problems)
        settings = completed(self.settings, self.by, self.judge, self.size)
        setup = Setup(self.strategy, settings, self.by.told(), self.judge.told())
        check(setup, scored=self.judge.reward is not None)
        with self.judge.open(chosen, self.by.processes) as reward, Run.open(self.out, setup, compressed=True) as run:
            problems.record(run, chosen)
            before = {one.problem_id for one in run.read("searches", SearchResult)}
            found, seconds = asyncio.run(self._work(run, chosen, reward, setup))
        print(f"{self.out}: {_told(chosen, found)}")
        if new := [one for one in found if one.problem_id not in before]:
            spent = Cost.total(one.cost + one.scoring for one in new)
            print(f"searched now: {len(new):,}; {pace(len(new), spent, seconds, 'problems')}")
        return 0

    async def _work(
        self, run: "Run", chosen: "Sequence[Problem]", reward: Any, setup: "Setup"
    ) -> "tuple[list[SearchResult], float]":
        """The results, and the seconds that the searches took."""
        import time

        from stepmark.grading import grade
        from stepmark.search.solve import solve

        known = {problem.id: problem for problem in chosen}
        seen = right = 0

        def aside(result: "SearchResult") -> str:
            nonlocal seen, right
            seen, right = seen + 1, right + grade(known[result.problem_id], result.answer).correct
            return f", {right / seen:.1%} right"

        async with self.by.open() as policy:
            began = time.monotonic()
            return await solve(run, chosen, policy, reward, setup, aside=aside), time.monotonic() - began


def completed(settings: Settings, by: PolicyOptions, judge: RewardOptions, of_server: Path | None) -> Settings:
    """The settings with the aggregation, and with the models' sizes where they are known. Raises InputError where a
    budget needs them."""
    if isinstance(settings, Auto):
        if settings.aggregate is not None:
            raise InputError("--aggregate is the plan's to say", remedy="leave it out, or make another plan")
    else:
        settings = replace(settings, aggregate=settings.aggregate or judge.aggregate())
    policy = by.size(of_server)
    if policy is not None:
        return replace(settings, models=Models(policy, judge.size()))
    if settings.budget.flops is not None:
        raise InputError("a budget in FLOPs needs the size of the model behind the server", remedy="give its --size")
    return settings


def _told(chosen: "Sequence[Problem]", found: "Sequence[SearchResult]") -> str:
    """What came out, and the mean cost of a problem."""
    from stepmark.grading import grade

    verdicts = [grade(problem, one.answer) for problem, one in zip(chosen, found, strict=True)]
    right = sum(verdict.correct for verdict in verdicts)
    counts = {
        "without an answer": sum(one.answer is None for one in found),
        "ungraded": sum(verdict.value == "ungraded" for verdict in verdicts),
        "ended by the budget": sum(one.exhausted for one in found),
    }
    told = ", ".join(f"{count:,} {what}" for what, count in counts.items())
    means = {
        "tokens generated": sum(one.cost.generated for one in found) / len(found),
        "scored": sum(one.scoring.scored for one in found) / len(found),
    }
    costs = [f"{mean:,.0f} {what}" for what, mean in means.items()]
    if all(one.flops is not None for one in found):
        costs.append(f"{sum(one.flops.total for one in found if one.flops) / len(found):.3g} FLOPs")
    return (
        f"{len(found):,} problems, {right / len(found):.1%} right, {told}\nmean cost of a problem: {', '.join(costs)}"
    )
