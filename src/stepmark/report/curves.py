"""Curves in words and pictures: what is gained over n, and over tokens."""

from collections.abc import Mapping, Sequence

import altair as alt

from stepmark.errors import InputError
from stepmark.evaluate.curves import Curve, Difference, Method, Point
from stepmark.report.palette import MAJORITY, ORACLE, colours
from stepmark.report.pictures import Bar, Picture, Row, Series, bars, line_chart, log_axis

METHODS: Mapping[Method, str] = {
    "best_of_n": "best-of-n",
    "weighted_vote": "weighted vote",
    "majority": "majority vote",
    "oracle": "oracle (pass@n)",
}
DASHES: Mapping[Method, tuple[int, ...]] = {"best_of_n": (), "weighted_vote": (8, 4), "majority": (), "oracle": (2, 4)}
CROWDED = 3
"""with more reward models, each method has a picture of its own"""
BANDS = 6
"""with more lines, not all bands are drawn at once"""


def label(method: Method, scores: str | None, aggregate: str | None) -> str:
    """How the answer is chosen, by whose scores, aggregated how."""
    return METHODS[method] + (f" by {scores}" if scores else "") + (f" ({aggregate})" if aggregate else "")


def headline(curves: Sequence[Curve], difference: Difference, level: float = 0.95) -> str:
    """What a method solves and gains over its baseline, in one sentence; a gain only where its interval excludes zero.
    Raises InputError if the method has no point at the difference's n."""
    method = (difference.method, difference.scores, difference.aggregate)
    points = [p for c in curves if (c.method, c.scores, c.aggregate) == method for p in c.points if p.n == difference.n]
    if not points:
        raise InputError(f"no point at n = {difference.n} for {label(*method)}", remedy="give the curves it is of")
    who = label(*method).replace("of-n", f"of-{difference.n}")
    baseline = label(difference.baseline, difference.baseline_scores, difference.baseline_aggregate)
    interval = f"{100 * level:g} % interval {signed(difference.low)} to {signed(difference.high)}"
    if difference.low > 0 or difference.high < 0:
        than = "more than" if difference.low > 0 else "less than"
        change = f"{100 * abs(difference.difference):.1f} points {than} {baseline} ({interval})"
    else:
        change = f"which cannot be told from {baseline} ({signed(difference.difference)} points, {interval})"
    return f"{who[0].upper()}{who[1:]} solves {100 * points[0].accuracy:.1f} % of the problems, {change}."


def signed(share: float, digits: int = 1) -> str:
    """A difference of shares in points, with a typographer's minus."""
    return f"{100 * share:+.{digits}f}".replace("-", "−")


def curve_pictures(curves: Sequence[Curve], level: float = 0.95) -> tuple[Picture, ...]:
    """Accuracy against n, and against tokens where they are known. A picture shows one aggregation of each reward
    model, beside majority vote and the oracle."""
    hues = colours(curve.scores for curve in curves if curve.scores is not None)
    aggregates: dict[str, list[str | None]] = {name: [] for name in hues}
    for curve in curves:
        if curve.scores is not None and curve.aggregate not in aggregates[curve.scores]:
            aggregates[curve.scores].append(curve.aggregate)
    plain = [curve for curve in curves if curve.scores is None]
    groups: list[tuple[str, list[Curve]]] = []
    for turn in range(max(map(len, aggregates.values()), default=0)):
        scored = [c for c in curves if c.scores and aggregates[c.scores].index(c.aggregate) == turn]
        suffix = "" if turn == 0 else f"-{turn + 1}"
        if len({curve.scores for curve in scored}) <= CROWDED:
            groups.append((suffix, scored))
        else:
            for method in dict.fromkeys(curve.method for curve in scored):
                groups.append((f"-{method.replace('_', '-')}{suffix}", [c for c in scored if c.method == method]))
    pictures = []
    for suffix, scored in groups or [("", [])]:
        pictures.append(_over_n([*scored, *plain], suffix, hues, level))
        if (cost := _over_tokens([*scored, *plain], suffix, hues)) is not None:
            pictures.append(cost)
    return tuple(pictures)


def _over_n(curves: Sequence[Curve], suffix: str, hues: Mapping[str, str], level: float) -> Picture:
    ns = sorted({point.n for curve in curves for point in curve.points})
    x = alt.X(
        "x:Q",
        scale=alt.Scale(type="log", base=2, domain=[ns[0], ns[-1]] if ns[1:] else [ns[0] / 2, ns[0] * 2]),
        axis=alt.Axis(values=ns, format="d", title="candidates per problem, n", labelOverlap="greedy"),
    )
    lines = {
        series: [{"x": p.n, **_figures(series, p)} for p in one.points]
        for series, one in ((_series(curve, curves, hues), curve) for curve in curves)
    }
    return Picture(
        f"accuracy{suffix}",
        f"Accuracy over candidates: {_methods(curves)}",
        "Share of problems solved, in expectation over all subsets of n candidates, with "
        f"{100 * level:g} % intervals over problems.{_legend(lines)}",
        line_chart(lines, x, _banded(lines)),
        tuple(lines),
    )


def _over_tokens(curves: Sequence[Curve], suffix: str, hues: Mapping[str, str]) -> Picture | None:
    """None where the generated tokens of a curve are unknown. What an oracle knows costs no tokens: it is not drawn."""
    curves = [curve for curve in curves if curve.method != "oracle"]
    points = [point for curve in curves for point in curve.points]
    if not points or any(not point.generated for point in points):
        return None
    whole = all(point.scored is not None for point in points)
    lines = {
        series: [{"x": (p.generated or 0) + (p.scored or 0) * whole, **_figures(series, p)} for p in one.points]
        for series, one in ((_series(curve, curves, hues), curve) for curve in curves)
    }
    title = "tokens per problem, generated and scored" if whole else "tokens generated per problem"
    x = log_axis([row["x"] for rows in lines.values() for row in rows], title)
    return Picture(
        f"cost{suffix}",
        f"Accuracy over tokens: {_methods(curves)}",
        (
            "Tokens that the policy generated and the reward model computed, whatever the size of either."
            if whole
            else "Generated tokens alone: those that the reward models compute are unknown, and their cost is missing."
        )
        + _legend(lines),
        line_chart(lines, x, _banded(lines)),
        tuple(lines),
    )


def gain_picture(differences: Sequence[Difference], level: float = 0.95) -> Picture:
    """The differences at the largest n, with their intervals."""
    n = max(one.n for one in differences)
    last = [one for one in differences if one.n == n]
    hues = colours(one.scores for one in differences if one.scores is not None)
    baselines = {one: label(one.baseline, one.baseline_scores, one.baseline_aggregate) for one in last}
    among = list(dict.fromkeys(baselines.values()))
    same = len(among) == 1
    return bars(
        [
            Bar(
                label(one.method, one.scores, one.aggregate) + ("" if same else f" over {baselines[one]}"),
                100 * one.difference,
                100 * one.low,
                100 * one.high,
                hues[one.scores] if one.scores else MAJORITY,
            )
            for one in sorted(last, key=lambda one: (among.index(baselines[one]), -one.difference))
        ],
        name="gains",
        title=f"Gain over {among[0]} at n = {n}" if same else f"Gains at n = {n}",
        caption="Difference in accuracy with the same candidates of the same problems, with paired "
        f"{100 * level:g} % intervals. Right of zero: better.",
        axis="difference in points",
        format="+.2~f",
    )


def _series(curve: Curve, among: Sequence[Curve], hues: Mapping[str, str]) -> Series:
    if curve.scores is None:
        return Series(METHODS[curve.method], MAJORITY if curve.method == "majority" else ORACLE, DASHES[curve.method])
    one = len({c.aggregate for c in among if c.scores}) == 1  # it stands in the title
    name = curve.scores if one or not curve.aggregate else f"{curve.scores}, {curve.aggregate}"
    if curve.method == "weighted_vote" and any(c.method == "best_of_n" for c in among):
        name += ", vote"
    return Series(name, hues[curve.scores], DASHES[curve.method])


def _methods(curves: Sequence[Curve]) -> str:
    methods = " and ".join(dict.fromkeys(METHODS[curve.method] for curve in curves if curve.scores)) or "majority vote"
    aggregates = {curve.aggregate for curve in curves if curve.scores}
    return methods + (f", step scores aggregated by {aggregates.pop()}" if len(aggregates) == 1 else "")


def _banded(lines: Mapping[Series, Sequence[Row]]) -> list[Series]:
    """The lines whose bands are drawn: all, or where that would be a blot majority vote and what ends highest."""
    if len(lines) <= BANDS:
        return list(lines)
    contenders = [series for series in lines if series.colour not in (MAJORITY, ORACLE)]
    best = max(contenders, key=lambda series: lines[series][-1]["y"])
    return [best, *(series for series in lines if series.colour == MAJORITY)]


def _legend(lines: Mapping[Series, Sequence[Row]]) -> str:
    dashes = {series.dash for series in lines if series.colour not in (MAJORITY, ORACLE)}
    kinds = " Solid: best-of-n; dashed: weighted vote." if len(dashes) > 1 else ""
    bands = _banded(lines)
    if len(bands) == len(lines):
        return kinds
    return f"{kinds} Drawn are the bands of {' and '.join(s.name for s in bands)}; point at a line to see its own."


def _figures(series: Series, point: Point) -> Row:
    tokens = {"generated": point.generated, "scored": point.scored}
    tip = {
        "title": series.name,
        "n": str(point.n),
        "accuracy": f"{100 * point.accuracy:.2f} %",
        "interval": f"{100 * point.low:.1f} to {100 * point.high:.1f} %",
        **{f"tokens {what}": "unknown" if count is None else f"{count:,.0f}" for what, count in tokens.items()},
    }
    return {"n": point.n, "y": point.accuracy, "low": point.low, "high": point.high, "tip": tip}
