"""`stepmark convert`: files of step labels from one format to another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from stepmark.formats.convert import Format
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution


@dataclass(frozen=True)
class Convert:
    """Step labels and solutions from one format to another, row by row, in bounded memory.

    Formats: prm800k (both phases), math_shepherd, omegaprm_tree, omegaprm_flat, stepwise (prompt, completions, labels),
    processbench, prmbench, candidates (a pool), records (a directory of problems, solutions and labels, which `stepmark
    train` reads), labelled (one file that loses nothing). What the target cannot hold, and every field of the
    input that its format does not know, is counted and told.
    """

    input: tyro.conf.Positional[Path]
    """JSON lines, plain or .gz; for records a directory"""
    output: tyro.conf.Positional[Path]
    """file to write (.gz: compressed), or directory for records"""
    source: Annotated[Format, tyro.conf.arg(name="from")]
    """format of the input"""
    target: Annotated[Format, tyro.conf.arg(name="to")]
    """format of the output"""
    neutral: Neutral | None = None
    """how neutral ratings count, for a target that knows only right and wrong; Let's Verify takes them as right"""
    chosen_only: bool = False
    """prm800k: leave out the rated alternatives to the steps that were chosen"""
    no_controls: bool = False
    """prm800k: leave out quality-control and screening sessions"""

    def run(self) -> int:
        from functools import partial

        from stepmark.errors import InputError
        from stepmark.formats import prm800k
        from stepmark.formats.convert import FORMATS, convert

        reader = FORMATS[self.source][0]
        if self.source == "prm800k":
            reader = partial(prm800k.read, alternatives=not self.chosen_only, controls=not self.no_controls)
        elif self.chosen_only or self.no_controls:
            raise InputError("--chosen-only and --no-controls are of prm800k", remedy="leave them out")
        done = convert(
            self.source, self.target, self.input, self.output, neutral=self.neutral, watch=_shown, reader=reader
        )
        print(
            f"{self.output}: {done.solutions:,} labelled solutions with {done.ratings:,} ratings, read as {self.source}"
        )
        for what, count in sorted(done.lost.items()):
            print(f"  {count:,} {what}")
        return 0


def _shown(solutions: Iterator[LabelledSolution]) -> Iterator[LabelledSolution]:
    """Passes them on and shows how many there were."""
    from rich.console import Console
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.completed:,.0f} labelled solutions"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        bar = progress.add_task("converting", total=None)
        for number, one in enumerate(solutions, 1):
            yield one
            if number % 1000 == 0:
                progress.update(bar, completed=number)
