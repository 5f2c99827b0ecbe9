"""How `search_figures` shows what it found: pictures, and tables in Markdown."""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from recipes.search_findings import MAJOR, WEIGHTED, Finding, Point
from stepmark.report.palette import INK, MAJORITY, OTHERS, PRM
from stepmark.report.pictures import Picture, Series, line_chart


def pictures(points: Sequence[Point]) -> tuple[Picture, ...]:
    """Accuracy against tokens and against FLOPs, and against budget for each bin of difficulty."""
    names = list(dict.fromkeys(point.strategy for point in points))
    hues = [PRM, *OTHERS]
    series = {
        name: Series(
            name,
            INK if name == WEIGHTED else MAJORITY if name == MAJOR else hues[i % len(hues)],
            () if i < len(hues) else (6, 4),
        )
        for i, name in enumerate(names)
    }
    shown = []
    for what, title in (("tokens", "generated tokens per problem"), ("flops", "FLOPs per problem, both models")):
        lines = {
            series[name]: [_row(one, getattr(one, what)) for one in points if one.strategy == name] for name in names
        }
        x = alt.X("x:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(title=title, format="~s"))
        caption = "Share of problems solved, the mean over seeds, with 95 % intervals over problems."
        shown.append(
            Picture(what, f"Accuracy over {title}", caption, line_chart(lines, x, [series[WEIGHTED]]), tuple(lines))
        )
    few = [name for name in names if name in (WEIGHTED, MAJOR, "beam", "lookahead, k = 1", "REBASE")]
    for b in range(5):
        lines = {
            series[name]: [
                {"x": one.budget, "y": one.by_bin[b], "low": one.by_bin[b], "high": one.by_bin[b], "tip": _tip(one)}
                for one in points
                if one.strategy == name and not math.isnan(one.by_bin[b])
            ]
            for name in few
        }
        if all(lines.values()):
            x = alt.X("x:Q", scale=alt.Scale(type="log", base=2), axis=alt.Axis(title="budget, generations"))
            caption = "Of five bins of problems by the policy's pass rate, 1 the easiest."
            shown.append(
                Picture(f"bin-{b + 1}", f"Difficulty bin {b + 1}", caption, line_chart(lines, x, []), tuple(lines))
            )
    return tuple(shown)


def _row(one: Point, x: float) -> dict[str, Any]:
    return {"x": x, "y": one.accuracy, "low": one.low, "high": one.high, "tip": _tip(one)}


def _tip(one: Point) -> dict[str, str]:
    return {
        "title": one.strategy,
        "budget": str(one.budget),
        "accuracy": f"{100 * one.accuracy:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]",
        "tokens": f"{one.tokens:,.0f}",
        "FLOPs": f"{one.flops:.3g}",
    }


def told(points: Sequence[Point], findings: Sequence[Finding]) -> str:
    """Both tables, as Markdown."""
    rows = ["| strategy | budget | tokens | FLOPs | accuracy, % | bins 1 to 5, % |", "|---|---|---|---|---|---|"]
    for one in points:
        bins = " ".join("-" if math.isnan(value) else f"{100 * value:.0f}" for value in one.by_bin)
        accuracy = f"{100 * one.accuracy:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
        rows.append(f"| {one.strategy} | {one.budget} | {one.tokens:,.0f} | {one.flops:.3g} | {accuracy} | {bins} |")
    rows += ["", "| the paper | here | difference [95 %] | |", "|---|---|---|---|"]
    for found in findings:
        rows.append(
            f"| {found.paper} | {found.measured} | {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] | "
            f"{found.verdict} |"
        )
    return "\n".join(rows)
