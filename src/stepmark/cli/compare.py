"""`stepmark compare`: runs of searches on the same problems, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from stepmark.errors import InputError
from stepmark.rewards.aggregate import Aggregation
from stepmark.search.choose import Choice

if TYPE_CHECKING:
    from rich.table import Table

    from stepmark.evaluate.searches import Comparison, Exchanged
    from stepmark.search.solve import Searches


@dataclass(frozen=True)
class Compare:
    """Compares runs of `stepmark search`: what each gets right on the same problems, and what it costs.

    Accuracy with its 95 % interval over problems, the paired difference from one of them, tokens, FLOPs of policy and
    reward model together, and wall time, all of one problem. Runs that differ in their seed alone are pooled. Where
    every problem has a level, accuracy by level too. Runs of other problems are refused.

    stepmark compare runs/beam runs/dvts runs/majority --html report

    stepmark compare runs/beam-16-seed-* runs/best-of-16-seed-* --baseline runs/best-of-16-seed-0 --json figures.json
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """directories of runs of stepmark search"""
    baseline: Path | None = None
    """the run that the others are compared with (never: the one that costs least)"""
    json: Path | None = None
    """write all figures to this file"""
    html: Path | None = None
    """write a report with pictures and a few search trees to this directory"""
    choose: Choice | None = None
    """show what the runs would have given with this choice among their solutions, from their records"""
    aggregate: Aggregation | None = None
    """and with this aggregation of step scores: of parallel, adaptive and revise, whose scores steer nothing"""
    larger: Path | None = None
    """a run of a larger policy on the same problems, greedy as in the paper: what the others' policy is worth with
    search, where both have cost the same FLOPs in training and inference (Snell et al. 2024, section 7)"""
    ratios: str = "0.16,0.79,22"
    """for --larger: tokens that a policy writes in its life over those it was trained on, with commas between"""
    trees: int = 2
    """problems, drawn at random, of which the report shows the trees"""
    resamples: int = 10_000
    """bootstrap resamples of the problems"""
    seed: int = 0
    """of the resamples, and of the problems whose trees are shown"""

    def run(self) -> int:
        from rich.console import Console

        from stepmark.cli.benchmarks import write_figures
        from stepmark.evaluate.intervals import Bootstrap
        from stepmark.evaluate.searches import compare, exchange
        from stepmark.search.solve import read_searches

        if self.resamples < 1 or self.trees < 0:
            raise InputError("too few resamples or trees", remedy="take at least 1 resample and 0 trees")
        if self.json is not None and not self.json.parent.is_dir():
            raise InputError("its folder does not exist", path=self.json, remedy="make the folder first")
        ratios = self._ratios()
        runs = [self._replayed(read_searches(path)) for path in self.runs]
        bootstrap = Bootstrap(resamples=self.resamples, seed=self.seed)
        comparison = compare(runs, baseline=self.baseline, bootstrap=bootstrap)
        exchanged = [] if self.larger is None else exchange(runs, read_searches(self.larger), ratios)
        if self.json is not None:
            figures = [asdict(one) for one in exchanged if one.match.small == one.match.small]
            write_figures(self.json, {**asdict(comparison), "exchange": figures, "interval": asdict(bootstrap)})
        page = None
        if self.html is not None:
            from stepmark.report import search_report, write

            report = search_report(comparison, runs, trees=self.trees, seed=self.seed, command=self._command())
            page = write(report, self.html)
        console = Console()
        if not console.is_terminal:
            console.width = 200  # a file has no edge at which to fold
        console.print(_table(comparison))
        if any(one.levels for one in comparison.entries):
            console.print(_by_level(comparison))
        if exchanged:
            console.print(_exchanged(exchanged))
        for line in [*_notes(comparison), *([] if page is None else [f"the report is {page}"])]:
            console.print(line, highlight=False, soft_wrap=True)
        return 0

    def _ratios(self) -> list[float]:
        try:
            return [float(part) for part in self.ratios.split(",")]
        except ValueError:
            raise InputError(f"--ratios {self.ratios!r}", remedy="give numbers with commas between") from None

    def _replayed(self, run: Searches) -> Searches:
        """The run as it was, or with the choice and the aggregation that are asked for."""
        import asyncio

        from stepmark.search.replay import replay_run

        asked = {"choose": self.choose, "aggregate": self.aggregate}
        given = {name: value for name, value in asked.items() if value is not None}
        if not given:
            return run
        return asyncio.run(replay_run(run, replace(run.setup.settings, **given)))

    def _command(self) -> str:
        import shlex

        words = ["stepmark", "compare", *map(str, self.runs)]
        for name in ("baseline", "choose", "aggregate"):
            words += [] if getattr(self, name) is None else [f"--{name}", str(getattr(self, name))]
        return shlex.join([*words, "--resamples", str(self.resamples), "--seed", str(self.seed)])


def _table(comparison: Comparison) -> Table:
    """A row per entry, accuracies in per cent, differences in points, costs of one problem."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("strategy")
    for name in ("seeds", "right, %", f"over {comparison.baseline}", "generated", "scored", "FLOPs", "seconds"):
        table.add_column(name, justify="right")
    gaps = {gap.name: gap for gap in comparison.gaps}
    for one in comparison.entries:
        gap = gaps.get(one.name)
        table.add_row(
            one.name,
            str(len(one.seeds)),
            f"{100 * one.accuracy:.2f} [dim]{100 * one.low:.1f}–{100 * one.high:.1f}[/]",
            f"{100 * gap.difference:+.2f} [dim]{100 * gap.low:+.1f} to {100 * gap.high:+.1f}[/]" if gap else "",
            f"{one.generated:,.0f}",
            f"{one.scored:,.0f}",
            "unknown" if one.flops is None else f"{one.flops:.3g}",
            "unknown" if one.seconds is None else f"{one.seconds:,.1f}",
        )
    return table


def _exchanged(found: Sequence[Exchanged]) -> Table:
    """A row for each line and ratio: accuracies in per cent at equal FLOPs."""
    from rich import box
    from rich.table import Table

    size = found[0].match.exchange.size
    table = Table(box=box.SIMPLE, pad_edge=False, title=f"against a policy {size:.3g} times as large, at equal FLOPs")
    table.add_column("strategy")
    for name in ("written / trained on", "tokens for a problem", "right, %", "the larger, %", "difference"):
        table.add_column(name, justify="right")
    for one in found:
        row = [one.line, f"{one.match.exchange.ratio:g}", f"{one.tokens:,.0f}"]
        if one.match.small != one.match.small:
            table.add_row(*row, "too few for a solution", f"{100 * one.match.large:.2f}", "")
            continue
        known = "" if one.match.measured else " or more: its last point"
        gap = 100 * (one.match.small - one.match.large)
        table.add_row(
            *row,
            f"{100 * one.match.small:.2f}{known}",
            f"{100 * one.match.large:.2f}",
            f"{gap:+.2f} [dim]{100 * one.low:+.1f} to {100 * one.high:+.1f}[/]",
        )
    return table


def _by_level(comparison: Comparison) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("right, %, by level")
    for level in comparison.entries[0].levels:
        table.add_column(f"{level.level}\n({level.problems:,})", justify="right", no_wrap=True)
    for one in comparison.entries:
        cells = (f"{100 * x.accuracy:.1f}\n[dim]{100 * x.low:.0f}–{100 * x.high:.0f}[/]" for x in one.levels)
        table.add_row(one.name, *cells)
    return table


def _notes(comparison: Comparison) -> list[str]:
    lines = [f"{comparison.problems:,} problems; 95 % intervals over problems, paired for differences; costs are means"]
    shares = {"without an answer": "unanswered", "ungraded (they earn nothing)": "ungraded"}
    shares["ended by the budget"] = "exhausted"
    for what, name in shares.items():
        found = [(one.name, getattr(one, name)) for one in comparison.entries if getattr(one, name)]
        if found:
            lines.append(f"{what}: " + ", ".join(f"{entry} {share:.1%}" for entry, share in found))
    if len({one.flops is None for one in comparison.entries}) == 2:
        lines.append("FLOPs are unknown where a model's size is: give stepmark search its --size")
    return lines
