"""`stepmark compare`: runs of searches on the same problems, side by side."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import tyro

from stepmark.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from stepmark.evaluate.searches import Comparison


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
        from stepmark.evaluate.searches import compare
        from stepmark.search.solve import read_searches

        if self.resamples < 1 or self.trees < 0:
            raise InputError("too few resamples or trees", remedy="take at least 1 resample and 0 trees")
        if self.json is not None and not self.json.parent.is_dir():
            raise InputError("its folder does not exist", path=self.json, remedy="make the folder first")
        runs = [read_searches(path) for path in self.runs]
        bootstrap = Bootstrap(resamples=self.resamples, seed=self.seed)
        comparison = compare(runs, baseline=self.baseline, bootstrap=bootstrap)
        if self.json is not None:
            write_figures(self.json, {**asdict(comparison), "interval": asdict(bootstrap)})
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
        for line in [*_notes(comparison), *([] if page is None else [f"the report is {page}"])]:
            console.print(line, highlight=False, soft_wrap=True)
        return 0

    def _command(self) -> str:
        import shlex

        words = ["stepmark", "compare", *map(str, self.runs)]
        words += [] if self.baseline is None else ["--baseline", str(self.baseline)]
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
