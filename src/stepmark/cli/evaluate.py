"""`stepmark evaluate`: what a selection method gains; the step benchmarks are in `benchmarks`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from stepmark.cli.benchmarks import Prmbench, Processbench, Steps, write_figures
from stepmark.errors import InputError
from stepmark.rewards.aggregate import Aggregation

if TYPE_CHECKING:
    from rich.table import Table

    from stepmark.evaluate.pool import Comparison
    from stepmark.evaluate.verdicts import PoolVerdicts

EXAMPLES = 20
"""Answers on which grader and recorded labels disagree that the JSON lists."""


@dataclass(frozen=True)
class Pool:
    """Accuracy over n of best-of-n, weighted vote and majority on a pool of candidates with step scores.

    Every figure is the expectation over all size-n subsets of the candidates, ties averaged; a weighted vote is
    subsampled where the subsets are many, with its standard error in the JSON. Intervals (95 %) are over problems.
    """

    candidates: Path
    """a run of stepmark sample, or a candidate pool: JSON lines, plain or .gz, one problem a line"""
    scores: tuple[Path, ...] = ()
    """step scores of those candidates, a run of stepmark score or a file for each reward model, which is named by it"""
    aggregate: tyro.conf.UseAppendAction[tuple[Aggregation, ...]] = ()
    """how step scores become a solution score; give it several times for several curves (never: as the reward model's
    directory or its authors say, where a run of stepmark score tells, else last)"""
    n: Annotated[str | None, tyro.conf.arg(metavar="N,N,...")] = None
    """numbers of candidates, such as 1,2,4,8 (by default the powers of two, and all)"""
    labels: Literal["graded", "recorded"] = "graded"
    """who says what is correct: our grader, or the pool's own is_correct"""
    json: Path | None = None
    """write all figures to this file"""
    html: Path | None = None
    """write a report with pictures to this directory: HTML, PNG and SVG"""
    subsets: int = 1000
    """random subsets per problem and n for a weighted vote"""
    resamples: int = 10_000
    """bootstrap resamples of the problems"""
    seed: int = 0
    """of the subsets and the resamples"""

    def run(self) -> int:
        from rich.console import Console

        from stepmark.evaluate.intervals import Bootstrap
        from stepmark.evaluate.pool import Scored, compare, default_sizes
        from stepmark.evaluate.verdicts import judge
        from stepmark.formats import candidates, runs

        files = _by_stem(self.scores)
        sizes = None if self.n is None else _sizes(self.n)
        if self.subsets < 2 or self.resamples < 1:
            raise InputError("too few subsets or resamples", remedy="take at least 2 subsets and 1 resample")
        if self.json is not None and not self.json.parent.is_dir():
            raise InputError("its folder does not exist", path=self.json, remedy="make the folder first")
        pool = (runs if self.candidates.is_dir() else candidates).read_candidates(self.candidates)
        steps = {
            name: (runs if path.is_dir() else candidates).read_step_scores(path, pool) for name, path in files.items()
        }
        said: dict[str, Aggregation] = {
            name: runs.read_aggregate(path) if path.is_dir() else "last" for name, path in files.items()
        }
        verdicts = judge(pool, self.labels)
        bootstrap = Bootstrap(resamples=self.resamples, seed=self.seed)
        comparison = compare(
            verdicts.problems,
            [
                Scored(name, how, steps_P_N_S)
                for name, steps_P_N_S in steps.items()
                for how in dict.fromkeys(self.aggregate or (said[name],))
            ],
            ns=sizes or default_sizes(min(len(one.candidates) for one in pool)),
            subsets=self.subsets,
            bootstrap=bootstrap,
        )
        settings = {
            "candidates": str(self.candidates),
            "scores": {name: str(path) for name, path in files.items()},
            "interval": {"method": "percentile bootstrap over problems", **asdict(bootstrap)},
            "vote": {"subsets": self.subsets, "seed": self.seed},
        }
        if self.json is not None:
            write_figures(
                self.json,
                {**_verdict_figures(verdicts, self.labels), **_curve_figures(comparison), "settings": settings},
            )
        notes = _notes(verdicts, comparison, self.labels)
        page = None
        if self.html is not None:
            from stepmark.report import pool_report, write

            report = pool_report(
                pool, steps, verdicts, comparison, labels=self.labels, notes=notes, provenance=self._provenance()
            )
            page = write(report, self.html)
        console = Console()
        if not console.is_terminal:
            console.width = 200  # a file has no edge at which to fold
        console.print(_table(comparison))
        for line in [*notes, *([] if page is None else [f"the report is {page}"])]:
            console.print(line, highlight=False, soft_wrap=True)
        return 0

    def _provenance(self) -> dict[str, str]:
        import platform
        import shlex
        from importlib.metadata import version

        from stepmark import __version__, grading

        words = ["stepmark", "evaluate", "pool", "--candidates", str(self.candidates)]
        words += ["--scores", *map(str, self.scores)] if self.scores else []
        words += [word for how in self.aggregate for word in ("--aggregate", how)]
        words += ["--n", self.n] if self.n else []
        words += [
            w for name in ("labels", "subsets", "resamples", "seed") for w in (f"--{name}", str(getattr(self, name)))
        ]
        return {
            "command": shlex.join(words),
            "interval": "percentile bootstrap over problems",
            "stepmark": f"{__version__}, grader {grading.VERSION}",
            "Python": f"{platform.python_version()}, NumPy {version('numpy')}",
        }


@dataclass(frozen=True)
class Evaluate:
    """What a selection method gains, and how well step scores find errors on the field's benchmarks."""

    what: (
        Annotated[Pool, tyro.conf.subcommand("pool")]
        | Annotated[Processbench, tyro.conf.subcommand("processbench")]
        | Annotated[Prmbench, tyro.conf.subcommand("prmbench")]
        | Annotated[Steps, tyro.conf.subcommand("steps")]
    )

    def run(self) -> int:
        return self.what.run()


def _by_stem(paths: Sequence[Path]) -> dict[str, Path]:
    """The name of a run, or of a file without .gz and .jsonl, is the reward model's."""
    named: dict[str, Path] = {}
    for path in paths:
        name = path.name.removesuffix(".gz").removesuffix(".jsonl").removesuffix(".json")
        if name in named:
            raise InputError(f"two of the scores are named {name!r}", path=path, remedy="rename one of them")
        named[name] = path
    return named


def _sizes(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise InputError(f"--n {text!r}", remedy="give whole numbers with commas between, such as 1,2,4,8") from None


def _verdict_figures(verdicts: PoolVerdicts, labels: str) -> dict[str, Any]:
    from stepmark import grading

    correct = [[one is True for one in problem.correct_N] for problem in verdicts.problems]
    return {
        "problems": len(correct),
        "candidates": sum(len(problem) for problem in correct),
        "labels": labels,
        "grader": grading.VERSION,
        "pass@1": sum(sum(problem) / len(problem) for problem in correct) / len(correct),
        "ungraded": verdicts.ungraded,
        "disagreements": {
            "compared": verdicts.recorded,
            "candidates": sum(one.candidates for one in verdicts.disagreements),
            "recorded_correct": sum(one.candidates for one in verdicts.disagreements if one.recorded),
            "graded_correct": sum(one.candidates for one in verdicts.disagreements if one.graded),
            "examples": [asdict(one) for one in verdicts.disagreements[:EXAMPLES]],
        },
    }


def _curve_figures(comparison: Comparison) -> dict[str, Any]:
    rows = [
        {
            "method": curve.method,
            "scores": curve.scores,
            "aggregate": curve.aggregate,
            "n": point.n,
            "accuracy": point.accuracy,
            "low": point.low,
            "high": point.high,
            "standard_error": point.standard_error,
            "generated_tokens": point.generated,
            "scored_tokens": point.scored,
        }
        for curve in comparison.curves
        for point in curve.points
    ]
    return {
        "curves": [row for row in rows if row["method"] != "oracle"],
        "oracle": [row for row in rows if row["method"] == "oracle"],
        "differences": [asdict(one) for one in comparison.differences],
        "left_out": [asdict(one) for one in comparison.left_out],
        "problems_with_mixed_classes": comparison.mixed,
    }


def _table(comparison: Comparison) -> Table:
    """A row per curve, in per cent: accuracy at each n with its interval; at the end the paired gain over majority."""
    from rich import box
    from rich.table import Table

    ns = [point.n for point in comparison.curves[0].points]
    gains = {(one.method, one.scores, one.aggregate): one for one in comparison.differences if one.n == ns[-1]}
    table = Table(box=box.SIMPLE, pad_edge=False)
    table.add_column("method\nscores, aggregate")
    for n in ns:
        table.add_column(f"n = {n}", justify="right", no_wrap=True)
    table.add_column(f"gain over majority\nat n = {ns[-1]}", justify="right", no_wrap=True)
    for curve in comparison.curves:
        gain = gains.get((curve.method, curve.scores, curve.aggregate))
        table.add_row(
            curve.method + (f"\n{curve.scores}, {curve.aggregate}" if curve.scores else ""),
            *(f"{100 * p.accuracy:.2f}\n[dim]{100 * p.low:.1f}–{100 * p.high:.1f}[/]" for p in curve.points),
            f"{100 * gain.difference:+.2f}\n[dim]{100 * gain.low:+.1f} to {100 * gain.high:+.1f}[/]" if gain else "",
        )
    return table


def _notes(verdicts: PoolVerdicts, comparison: Comparison, labels: str) -> list[str]:
    candidates = sum(len(problem.correct_N) for problem in verdicts.problems)
    lines = [f"{len(verdicts.problems)} problems, {candidates} candidates, labels: {labels}; per cent, 95 % intervals"]
    if verdicts.ungraded:
        lines.append(f"{verdicts.ungraded} candidates are ungraded: they earn nothing, so accuracies are lower bounds")
    if verdicts.recorded:
        differing = sum(one.candidates for one in verdicts.disagreements)
        lines.append(f"grader and recorded labels differ on {differing} of {verdicts.recorded} candidates")
    if comparison.mixed:
        lines.append(f"{comparison.mixed} problems have an answer class whose members are labelled differently")
    lines += [f"{one.method} by {one.scores} {one.aggregate} is left out: {one.reason}" for one in comparison.left_out]
    return lines
