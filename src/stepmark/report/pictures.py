"""Pictures: an altair chart with a title and a caption, and the few kinds of chart that reports share.

A chart says nothing of fonts, paper and width; `page.py` adds them. Two parameters, where a chart has them, are its
contract with the page: `hidden` lists the series that the reader switched off, `labels` is false where there is no room
to write the series' names beside their lines.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import altair as alt

from stepmark.evaluate.steps import Bin, Calibration
from stepmark.report.palette import GRID, INK, MUTED, PAPER, colours

HEIGHT = 340
TIP = "(datum.datum || datum).tip"
"""the tip of a point, or of the region where it is the nearest (there, Vega-Lite mistakes the datum of named fields)"""
LABEL = 17
"""height in pixels of a series' name, at the end of its line"""
NEAR = 1.15
"""lines that end at values of x within this factor have their names in one column"""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart: an entry of the legend."""

    name: str
    colour: str
    dash: tuple[int, ...] = ()
    """lengths of strokes and gaps; empty: solid"""


@dataclass(frozen=True, slots=True)
class Picture:
    """`name` is the stem of the picture's files; the caption says what is seen, with the units and the interval."""

    name: str
    title: str
    caption: str
    chart: alt.Chart | alt.LayerChart
    series: tuple[Series, ...] = ()
    """a legend of switches, for charts with the parameter `hidden`"""


Row = Mapping[str, Any]
"""of a line: `x`, `y`, `low`, `high`, and `tip`, the figures by name that show when the pointer is near"""


def line_chart(
    lines: Mapping[Series, Sequence[Row]],
    x: alt.X,
    bands: Collection[Series],
    reach: tuple[float, float] | None = None,
) -> alt.LayerChart:
    """Lines over a share in per cent, each with its name at its end. Some show their bands (`low` to `high`) at once,
    any line shows its own when the pointer is near; a single point has a rule. The axis holds all bands, or goes from
    one share to another."""
    rows = [
        {"series": series.name, "band": 0.13 if series in bands else 0.0, "alone": len(rows) == 1, **row}
        for series, rows in lines.items()
        for row in rows
    ]
    ticks = _ticks(*(reach or (min(row["low"] for row in rows), max(row["high"] for row in rows))))
    low, high = ticks[0], ticks[-1]
    names = [series.name for series in lines]
    hidden, labels = alt.param(name="hidden", value=[]), alt.param(name="labels", value=True)
    near = alt.selection_point(name="near", fields=["series"], nearest=True, on="pointermove", clear="pointerout")
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    axis = alt.Axis(format="%", values=ticks, title=None)
    y = alt.Y("y:Q", scale=scale, axis=axis)
    colour = alt.Color("series:N", scale=alt.Scale(domain=names, range=[s.colour for s in lines]), legend=None)
    dashes = alt.Scale(domain=names, range=[list(series.dash or (1, 0)) for series in lines])
    shown = alt.Chart(alt.InlineData(values=rows)).transform_filter("indexof(hidden, datum.series) < 0").encode(x=x)
    band = shown.mark_area().encode(
        y=alt.Y("low:Q", scale=scale, axis=axis),
        y2="high:Q",
        color=colour,
        opacity=alt.condition(near, alt.value(0.25), alt.Opacity("band:Q", scale=None), empty=False),
    )
    span = shown.transform_filter("datum.alone").mark_rule(strokeWidth=1.5)
    span = span.encode(y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q", color=colour)
    faded = alt.condition(near, alt.value(1), alt.value(0.3))
    line = shown.mark_line(strokeWidth=2).encode(
        y=y, color=colour, strokeDash=alt.StrokeDash("series:N", scale=dashes, legend=None), opacity=faded
    )
    point = (
        shown.mark_point(filled=True, stroke=PAPER, strokeWidth=1, size=36)
        .encode(y=y, color=colour, opacity=faded, tooltip=alt.TooltipValue(alt.ExprRef(TIP)))
        .add_params(near)
        .properties(name="points")  # else altair counts its charts, and a name depends on those before
    )
    ends = [{"series": series.name, **rows[-1]} for series, rows in lines.items()]
    named = _apart(ends, LABEL * (high - low) / HEIGHT, low, high)
    text = (
        alt.Chart(alt.InlineData(values=named))
        .transform_filter("labels && indexof(hidden, datum.series) < 0")
        .encode(x=x, y=alt.Y("place:Q", scale=scale, axis=axis), text="series:N")
    )
    halo = text.mark_text(align="left", baseline="middle", dx=9, stroke=PAPER, strokeWidth=4)
    name = text.mark_text(align="left", baseline="middle", dx=9).encode(color=colour)
    chart = alt.LayerChart(layer=[band, span, line, halo, name, point], height=HEIGHT)
    return chart.add_params(hidden, labels)


def log_axis(values: Collection[float], title: str) -> alt.X:
    """A logarithmic axis for costs, marked at round numbers; it reaches over a factor of 4 at least."""
    low, high = min(values), max(values)
    low, high = (low, high) if high >= 4 * low else (low / 2, high * 2)
    first, last = floor(log10(low)), ceil(log10(high))
    marks = [d * 10.0**e for e in range(first, last + 1) for d in (1, 2, 5) if low <= d * 10.0**e <= high]
    axis = alt.Axis(title=title, format="~s", values=marks, labelOverlap="greedy")
    return alt.X("x:Q", scale=alt.Scale(type="log", nice=False, domain=[low, high]), axis=axis)


def reliability(calibrations: Mapping[str, Calibration], *, name: str = "calibration") -> Picture:
    """Whether a step's score is the share of such steps that are right, for each reward model by name."""
    hues = colours(calibrations)
    lines = {
        Series(f"{model} (error {100 * one.error:.1f} points)", hues[model]): [
            {"x": b.score, "y": b.right, "low": b.right, "high": b.right, "tip": _bin_tip(model, b)}
            for b in one.bins
            if b.score is not None
        ]
        for model, one in calibrations.items()
    }
    x = alt.X("x:Q", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format="%", tickCount=6, title="mean score"))
    chart = line_chart(lines, x, bands=(), reach=(0, 1))
    ideal = (
        alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color=MUTED, strokeDash=[2, 4], strokeWidth=1)
        .encode(x=x, y="y:Q")
    )
    count = sum(b.count for one in calibrations.values() for b in one.bins)
    return Picture(
        name,
        "Do the scores mean what they say?",
        "Share of right steps among steps with about the same score; on the dotted diagonal a score is a probability. "
        f"The error is the expected calibration error. {count:,} scored steps in bins of equal width.",
        alt.LayerChart(layer=[ideal, *chart.layer], params=chart.params, height=HEIGHT),
        tuple(lines),
    )


def _bin_tip(model: str, b: Bin) -> dict[str, str]:
    return {"title": model, "mean score": f"{b.score:.3f}", "right": f"{b.right:.1%}", "number": f"{b.count:,}"}


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure with its interval."""

    name: str
    value: float
    low: float
    high: float
    colour: str = INK


def bars(bars: Sequence[Bar], *, name: str, title: str, caption: str, axis: str, format: str = "%") -> Picture:
    """Figures with their intervals, one below the other, each under its name: dots, since what is compared need not
    begin at zero. Where zero is near it is drawn."""
    rows = [
        {"row": i, "name": b.name, "value": b.value, "low": b.low, "high": b.high, "colour": b.colour}
        for i, b in enumerate(bars)
    ]
    low, high = min(b.low for b in bars), max(b.high for b in bars)
    near_zero = low <= 0 <= high or min(abs(low), abs(high)) < high - low
    reach = [min(low, 0.0), max(high, 0.0)] if near_zero else [low, high]
    scale, ticks = (
        alt.Scale(domain=reach, nice=True, zero=False),
        alt.Axis(format=format, title=axis, tickCount=6, labelOverlap="greedy"),
    )
    x = alt.X("low:Q", scale=scale, axis=ticks)
    tooltip = [
        alt.Tooltip("name:N", title="of"),
        *(alt.Tooltip(f"{field}:Q", title=field, format=format) for field in ("value", "low", "high")),
    ]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("row:O", axis=None), color=alt.Color("colour:N", scale=None), tooltip=tooltip
    )
    span = base.mark_rule(strokeWidth=2, yOffset=8).encode(x=x, x2="high:Q")
    dot = base.mark_point(filled=True, opacity=1, size=80, stroke=PAPER, strokeWidth=1, yOffset=8).encode(x="value:Q")
    place = {"x": alt.value(0), "text": alt.Text("name:N")}
    halo = base.mark_text(align="left", dy=-8, stroke=PAPER, strokeWidth=4).encode(**place)
    text = base.mark_text(align="left", dy=-8).encode(**place, color=alt.value(INK))
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color=MUTED).encode(x="zero:Q")
    layers = [*([zero] if near_zero else []), span, dot, halo, text]
    return Picture(name, title, caption, alt.LayerChart(layer=layers, height=alt.Step(44)))


def _ticks(low: float, high: float) -> list[float]:
    """Round shares from below the low one to above the high one, some five of them."""
    step = next(step for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25) if high - low <= 5 * step or step == 0.25)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    return [round(step * i, 2) for i in range(first, max(last, first + 1) + 1)]


def _apart(ends: Sequence[Mapping[str, Any]], gap: float, low: float, high: float) -> list[dict[str, Any]]:
    """The ends of the lines with a `place` for their names: names of lines that end at about the same x start at the
    same x, at heights at least `gap` apart, and with that restriction closest to the ends of their lines (isotonic
    regression, by pooling neighbours)."""
    columns: list[list[Mapping[str, Any]]] = []
    for end in sorted(ends, key=lambda end: end["x"]):
        if columns and end["x"] <= NEAR * columns[-1][0]["x"]:
            columns[-1].append(end)
        else:
            columns.append([end])
    named: list[dict[str, Any]] = []
    for column in columns:
        order = sorted(column, key=lambda end: end["y"])
        pools: list[list[float]] = []  # of the heights, less the gaps below them
        for rank, end in enumerate(order):
            pools.append([end["y"] - rank * gap])
            while len(pools) > 1 and _mean(pools[-2]) > _mean(pools[-1]):
                pools[-2:] = [pools[-2] + pools[-1]]
        heights = [_mean(pool) for pool in pools for _ in pool]
        shift = min(0.0, high - (heights[-1] + (len(order) - 1) * gap))
        right = max(end["x"] for end in column)
        for rank, (end, height) in enumerate(zip(order, heights, strict=True)):
            named.append({**end, "x": right, "place": max(height + shift, low) + rank * gap})
    return named


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def style(picture: Picture) -> dict[str, Any]:
    """The picture's Vega-Lite specification, described for those who cannot see it, with the look of a report."""
    words = {"labelColor": MUTED, "titleColor": MUTED, "labelFontSize": 12, "titleFontSize": 12}
    spec: dict[str, Any] = picture.chart.to_dict()
    return spec | {
        "description": f"{picture.title}. {picture.caption}",
        "background": PAPER,
        "padding": 4,
        "config": {
            "font": "Inter, 'Helvetica Neue', Helvetica, Arial, sans-serif",
            "view": {"stroke": None},
            "axis": {
                **words,
                "titleFontWeight": "normal",
                "titlePadding": 10,
                "labelPadding": 6,
                "gridColor": GRID,
                "domainColor": MUTED,
                "tickColor": MUTED,
                "tickSize": 4,
            },
            "axisX": {"grid": False, "labelFlush": False},
            "axisY": {"domain": False, "ticks": False},
            "text": {"fontSize": 12, "fontWeight": 500},
        },
    }
