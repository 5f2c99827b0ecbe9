"""`stepmark solve`: one question, answered by a search that can be watched."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic, TypeVar, cast

import tyro

from stepmark.cli.models import PolicyOptions, RewardOptions
from stepmark.cli.search import completed
from stepmark.cli.strategy import settings_of
from stepmark.search.settings import Settings

if TYPE_CHECKING:
    from stepmark.search.solve import Setup
    from stepmark.search.tree import SearchResult
    from stepmark.types import Problem

S = TypeVar("S", bound=Settings)
STRATEGY = "adaptive"
"""it needs no reward model"""


@dataclass(frozen=True, kw_only=True)
class Solve(Generic[S]):
    """Answers one question by a search, and shows the tree: each step as it is drawn, its score, whether it was kept.

    At the end stand the whole tree, the answer, and what it cost. The strategies are those of stepmark search; --help
    after --strategy NAME tells its settings. Without a reward model, adaptive and parallel --choose majority answer by
    vote.

    stepmark solve "Ana has 3 pens. Ben has Ana's pens plus 4. How many pens does Ben have?"

    stepmark solve "..." --strategy beam --reward bundled --n 8
    """

    question: tyro.conf.Positional[str]
    """the question"""
    strategy: Annotated[str, tyro.conf.arg(metavar="NAME")] = STRATEGY
    """which strategy"""
    settings: Annotated[tyro.conf.AvoidSubcommands[S], tyro.conf.arg(name="")]
    by: Annotated[PolicyOptions, tyro.conf.arg(name="")] = field(default_factory=PolicyOptions)
    judge: Annotated[RewardOptions, tyro.conf.arg(name="")] = field(default_factory=RewardOptions)
    size: Path | None = None
    """the directory with the config.json of the model behind a server, so that FLOPs can be counted"""

    @classmethod
    def of(cls, args: Sequence[str]) -> Any:
        """With the settings of the strategy that is named."""
        return cast(Any, cls)[settings_of(args, STRATEGY)]

    def run(self) -> int:
        import asyncio

        from rich.console import Console

        from stepmark.cli.watch import drawn
        from stepmark.search.solve import Setup, check
        from stepmark.types import Problem

        self.by.check()
        problem = Problem("question", self.question, "", "command line")
        settings = completed(self.settings, self.by, self.judge, self.size)
        setup = Setup(self.strategy, settings, self.by.told(), self.judge.told())
        check(setup, scored=self.judge.reward is not None)
        console = Console()
        with self.judge.open([problem], self.by.processes) as reward:
            try:
                result, seconds = asyncio.run(self._watched(console, problem, reward, setup))
            except KeyboardInterrupt:
                console.print("interrupted; this is how far it came")
                return 130
        console.print(drawn(result))
        console.print(_told(result, seconds), highlight=False, markup=False, soft_wrap=True)
        return 0

    async def _watched(
        self, console: Any, problem: "Problem", reward: Any, setup: "Setup"
    ) -> "tuple[SearchResult, float]":
        """The search, shown while it runs where somebody looks, and its seconds."""
        import asyncio
        import time
        from contextlib import nullcontext

        from rich.live import Live

        from stepmark.cli.watch import Watch
        from stepmark.search.strategies import STRATEGIES

        async with self.by.open() as policy:
            watch = Watch(policy, reward)
            search = STRATEGIES[setup.strategy][0](problem, watch, reward and watch, setup.settings)
            live = Live(console=console, get_renderable=watch.__rich__, refresh_per_second=8, transient=True)
            began = time.monotonic()
            try:
                with live if console.is_terminal else nullcontext():
                    return await search, time.monotonic() - began
            except asyncio.CancelledError:
                console.print(watch)
                raise


def _told(result: "SearchResult", seconds: float) -> str:
    """The answer and its cost."""
    found = "no answer: no solution was finished" if result.chosen is None else f"answer: {result.answer}"
    read = result.cost.prompt + result.cost.cached
    costs = [
        f"{result.cost.generated:,} tokens generated",
        f"{read:,} prompt tokens read, {result.cost.cached:,} of them from the cache",
        f"{result.scoring.scored:,} scored",
        f"{result.cost.requests + result.scoring.requests:,} requests",
        *([] if result.flops is None else [f"{result.flops.total:.3g} FLOPs"]),
        f"{seconds:.1f} s",
    ]
    ended = "; the budget ended the search" if result.exhausted else ""
    return f"{found}\ncost: {', '.join(costs)}{ended}"
