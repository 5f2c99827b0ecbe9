"""The report of runs of searches: accuracy against what it costs, by strategy, and a few of the trees."""

import platform
import random
from collections.abc import Callable, Sequence

import altair as alt

from stepmark import __version__, grading
from stepmark.evaluate.searches import Comparison, Entry, Gap, Level
from stepmark.grading import grade
from stepmark.report.curves import signed
from stepmark.report.page import Cell, Report, Table
from stepmark.report.palette import colours
from stepmark.report.pictures import Bar, Picture, Series, bars, line_chart, log_axis
from stepmark.report.trees import Trees, draw
from stepmark.search.solve import Searches

BANDS = 4
"""with more lines, bands show at the pointer alone"""


def search_report(
    comparison: Comparison, runs: Sequence[Searches], *, trees: int, seed: int, command: str, level: float = 0.95
) -> Report:
    """`trees` problems, drawn at random by `seed`, show the tree of each line's most accurate entry."""
    entries = comparison.entries
    hues = colours(one.line for one in entries)
    pictures = [
        _against("tokens", "generated tokens", lambda one: one.generated, entries, hues),
        *(
            [_against("flops", "FLOPs of policy and reward model", lambda one: one.flops or 0.0, entries, hues)]
            if all(one.flops for one in entries)
            else []
        ),
        *([_gains(comparison, hues, level)] if comparison.gaps else []),
    ]
    if len(entries[0].levels) > 1:
        pictures.append(_by_level(entries, hues))
    return Report(
        title="Test-time strategies compared",
        headline=_headline(comparison, level),
        facts={
            "problems": f"{comparison.problems:,}",
            "searches": f"{comparison.problems * sum(len(one.seeds) for one in entries):,}",
            "strategies": f"{len(hues):,}",
        },
        pictures=tuple(pictures),
        curves=(),
        differences=(),
        solutions=(),
        notes=(
            "Costs are means of one problem. FLOPs are those of policy and reward model together, attention included.",
            "Runs that differ in their seed alone are pooled: a problem's value is the mean over the seeds.",
            *_notes(comparison),
        ),
        provenance={
            "command": command,
            "runs": ", ".join(path for one in entries for path in one.runs),
            "interval": "percentile bootstrap over problems; differences are paired",
            "stepmark": f"{__version__}, grader {grading.VERSION}",
            "Python": platform.python_version(),
        },
        level=level,
        tables=(_figures(comparison, level), *([_levels(entries)] if entries[0].levels else [])),
        trees=_trees(entries, runs, trees, seed),
    )


def _headline(comparison: Comparison, level: float) -> str:
    best = max(comparison.gaps, key=lambda gap: gap.difference, default=None)
    found = {one.name: one for one in comparison.entries}
    baseline = found[comparison.baseline]
    first = f"{baseline.name[0].upper()}{baseline.name[1:]} solves {baseline.accuracy:.1%} of the problems".replace(
        "%", " %"
    )
    if best is None:
        return f"{first}."
    interval = f"{100 * level:g} % interval {signed(best.low)} to {signed(best.high)}"
    clear = best.low > 0 or best.high < 0
    change = f"{signed(best.difference)} points, {interval}"
    more = f"{found[best.name].accuracy:.1%}".replace("%", " %")
    return f"{first}; {best.name} solves {more} ({change}{'' if clear else ', which cannot be told apart'})."


def _notes(comparison: Comparison) -> list[str]:
    notes = []
    if len(comparison.gaps) > 1:
        notes.append(
            f"The headline names the largest of {len(comparison.gaps)} differences; chosen after the fact, it flatters."
        )
    if any(one.ungraded for one in comparison.entries):
        notes.append("Some answers are ungraded. They earn nothing, so accuracies are lower bounds.")
    if len({one.flops is None for one in comparison.entries}) == 2:
        notes.append("FLOPs are missing where a model's size is unknown.")
    return notes


def _against(
    name: str, what: str, cost: Callable[[Entry], float], entries: Sequence[Entry], hues: dict[str, str]
) -> Picture:
    lines = {
        Series(line, hue): [
            {"x": cost(one), "y": one.accuracy, "low": one.low, "high": one.high, "tip": _tip(one)}
            for one in sorted(entries, key=cost)
            if one.line == line
        ]
        for line, hue in hues.items()
    }
    x = log_axis([cost(one) for one in entries], f"{what} per problem")
    return Picture(
        name,
        f"Accuracy over {what}",
        "Share of problems solved, with 95 % intervals over problems. Points of one line differ in how much they may "
        "spend alone.",
        line_chart(lines, x, list(lines) if len(lines) <= BANDS else ()),
        tuple(lines),
    )


def _tip(one: Entry) -> dict[str, str]:
    return {
        "title": one.name,
        "accuracy": f"{100 * one.accuracy:.2f} %",
        "interval": f"{100 * one.low:.1f} to {100 * one.high:.1f} %",
        "tokens generated": f"{one.generated:,.0f}",
        "tokens scored": f"{one.scored:,.0f}",
        "FLOPs": "unknown" if one.flops is None else f"{one.flops:.3g}",
        "seeds": f"{len(one.seeds)}",
    }


def _gains(comparison: Comparison, hues: dict[str, str], level: float) -> Picture:
    lines = {one.name: one.line for one in comparison.entries}
    return bars(
        [Bar(gap.name, gap.difference, gap.low, gap.high, hues[lines[gap.name]]) for gap in comparison.gaps],
        name="gains",
        title=f"Difference from {comparison.baseline}",
        caption=f"Difference in accuracy on the same problems, with paired {100 * level:g} % intervals. Right of zero: "
        "better. What they cost is not the same; the pictures above show it.",
        axis="difference in points",
        format="+.2~f" if max(abs(gap.difference) for gap in comparison.gaps) < 0.01 else "+.0%",
    )


def _by_level(entries: Sequence[Entry], hues: dict[str, str]) -> Picture:
    """Of each line the entry that is right most often."""
    best = _best(entries)
    levels = [level.level for level in entries[0].levels]
    lines = {
        Series(one.name, hues[one.line]): [
            {"x": x.level, "y": x.accuracy, "low": x.low, "high": x.high, "tip": _level_tip(one, x)} for x in one.levels
        ]
        for one in best
    }
    x = alt.X("x:Q", scale=alt.Scale(domain=[levels[0], levels[-1]]), axis=alt.Axis(values=levels, title="level"))
    return Picture(
        "levels",
        "Accuracy by level",
        "Share of problems solved at each level of difficulty, by the most accurate entry of each line, with 95 % "
        "intervals over problems.",
        line_chart(lines, x, list(lines) if len(lines) <= BANDS else ()),
        tuple(lines),
    )


def _level_tip(one: Entry, level: Level) -> dict[str, str]:
    return {
        "title": one.name,
        "level": str(level.level),
        "problems": f"{level.problems:,}",
        "accuracy": f"{100 * level.accuracy:.1f} %",
        "interval": f"{100 * level.low:.1f} to {100 * level.high:.1f} %",
    }


def _best(entries: Sequence[Entry]) -> list[Entry]:
    lines = dict.fromkeys(one.line for one in entries)
    return [max((o for o in entries if o.line == line), key=lambda o: (o.accuracy, -o.generated)) for line in lines]


def _figures(comparison: Comparison, level: float) -> Table:
    gaps = {gap.name: gap for gap in comparison.gaps}
    return Table(
        "entries",
        f"Accuracy in per cent with its {100 * level:g} % interval, the paired difference in points (bold where its "
        "interval excludes zero), and the mean cost of a problem.",
        ("strategy", "seeds", "accuracy", f"over {comparison.baseline}", "generated", "scored", "FLOPs", "seconds"),
        tuple(_row(one, gaps.get(one.name)) for one in comparison.entries),
    )


def _row(one: Entry, gap: Gap | None) -> tuple[Cell, ...]:
    difference = Cell("–")
    if gap is not None:
        interval = f"{signed(gap.low)} to {signed(gap.high)}"
        difference = Cell(signed(gap.difference, 2), interval, gap.difference, gap.low > 0 or gap.high < 0)
    return (
        Cell(one.name),
        Cell(f"{len(one.seeds)}"),
        Cell(f"{100 * one.accuracy:.2f}", f"{100 * one.low:.1f}–{100 * one.high:.1f}", one.accuracy),
        difference,
        Cell(f"{one.generated:,.0f}", value=one.generated),
        Cell(f"{one.scored:,.0f}", value=one.scored),
        Cell("unknown") if one.flops is None else Cell(f"{one.flops:.3g}", value=one.flops),
        Cell("unknown") if one.seconds is None else Cell(f"{one.seconds:,.1f}", value=one.seconds),
    )


def _levels(entries: Sequence[Entry]) -> Table:
    return Table(
        "levels",
        "Accuracy in per cent by level, with intervals over its problems.",
        ("strategy", *(f"{level.level} ({level.problems:,} problems)" for level in entries[0].levels)),
        tuple(
            (
                Cell(one.name),
                *(
                    Cell(f"{100 * x.accuracy:.1f}", f"{100 * x.low:.0f}–{100 * x.high:.0f}", x.accuracy)
                    for x in one.levels
                ),
            )
            for one in entries
        ),
    )


def _trees(entries: Sequence[Entry], runs: Sequence[Searches], count: int, seed: int) -> tuple[Trees, ...]:
    problems = runs[0].problems
    chosen = random.Random(seed).sample(problems, min(count, len(problems)))
    by_path = {str(run.path): run for run in runs}
    shown = [(one.name, by_path[one.runs[0]]) for one in _best(entries)]
    found = [(name, {one.problem_id: one for one in run.results}) for name, run in shown]
    return tuple(
        Trees(
            problem,
            tuple(
                draw(name, results[problem.id], grade(problem, results[problem.id].answer)) for name, results in found
            ),
        )
        for problem in chosen
    )
