"""The page: one HTML file that needs no network and no other file, with its pictures beside it as PNG and SVG.

Charts come alive by script; without one they stand as they are. A content security policy forbids the page to load
anything at all. The same report gives the same bytes.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import vl_convert

from stepmark.errors import InputError
from stepmark.evaluate.curves import Curve, Difference
from stepmark.records import replacing
from stepmark.report.curves import label, signed
from stepmark.report.palette import DARK
from stepmark.report.pictures import Picture, style
from stepmark.report.solutions import SHADES, Solutions
from stepmark.report.trees import FATES, Trees

WIDTH = 640
"""of the still pictures, in pixels; PNG has twice as many"""


@dataclass(frozen=True, slots=True)
class Cell:
    """Of a table: a figure as it is read, what stands small below it, and the value itself, where it is one."""

    text: str
    small: str = ""
    value: float | None = None
    clear: bool = False
    """to be seen at once"""


@dataclass(frozen=True, slots=True)
class Table:
    """`name` is of a-z; the first cell of a row is its heading."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, slots=True)
class Report:
    """What the page says. Every text is shown as it is, markup and all."""

    title: str
    headline: str
    """the gain in one sentence"""
    facts: Mapping[str, str]
    """a few figures to begin with: problems, candidates, pass@1, ungraded ..."""
    pictures: tuple[Picture, ...]
    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    solutions: tuple[Solutions, ...]
    notes: tuple[str, ...]
    """what the reader must know to read the figures rightly"""
    provenance: Mapping[str, str]
    """the command that prints the figures, settings, seeds, versions"""
    level: float = 0.95
    """of all intervals"""
    tables: tuple[Table, ...] = ()
    trees: tuple[Trees, ...] = ()


def write(report: Report, directory: Path) -> Path:
    """Write `report.html` into the directory, and each picture as `pictures/NAME.png` and `.svg`; the page's path is
    returned. Everything is made before anything is written, and each file appears whole. Raises InputError: two
    pictures of one name, a name that is no file name, a directory that cannot be written."""
    names = Counter(picture.name for picture in report.pictures)
    for name, count in names.items():
        if count > 1 or not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", name):
            raise InputError(f"a picture is named {name!r}", remedy="give each its own name of a-z, 0-9, - and _")
    stills = {picture.name: _still(picture) for picture in report.pictures}
    pngs = {name: vl_convert.svg_to_png(svg, scale=2) for name, svg in stills.items()}
    html = render(report, stills)

    pictures = directory / "pictures"
    try:
        pictures.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(str(error), path=pictures, remedy="give a directory that can be written") from error
    for name, svg in stills.items():
        for path, content in ((pictures / f"{name}.svg", svg.encode()), (pictures / f"{name}.png", pngs[name])):
            with replacing(path) as file:
                file.write(content)
    page = directory / "report.html"
    with replacing(page) as file:
        file.write(html.encode())
    return page


def render(report: Report, stills: Mapping[str, str]) -> str:
    """The page's text, with the still pictures (SVG by name) that scripts replace by live ones."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("stepmark.report", "assets"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    return environment.get_template("report.html.j2").render(
        report=report,
        ns=sorted({point.n for curve in report.curves for point in curve.points}),
        difference_ns=sorted({one.n for one in report.differences}),
        differences=_by_method(report.differences),
        charts=[(picture, _specification(picture), _themed(stills[picture.name])) for picture in report.pictures],
        themes={"light": {_variable(c): c for c in DARK}, "dark": {_variable(c): dark for c, dark in DARK.items()}},
        vega=_vega(),
        shades=range(SHADES + 1),
        label=label,
        fates=FATES,
    )


@cache
def _vega() -> str:
    """Vega, Vega-Lite and Vega-Embed, as vl-convert carries them."""
    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _still(picture: Picture) -> str:
    svg: str = vl_convert.vegalite_to_svg({**style(picture), "width": WIDTH})
    return svg


def _specification(picture: Picture) -> dict[str, Any]:
    """For the page: as wide as its place, in the colours of the page."""
    spec = {**style(picture), "width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    themed: dict[str, Any] = json.loads(_themed(json.dumps(spec)))
    return themed


def _themed(text: str) -> str:
    """Text with each of the palette's colours as the CSS variable of its name."""
    return re.sub("|".join(DARK), lambda found: f"var({_variable(found[0])})", text)


def _variable(colour: str) -> str:
    return f"--c-{colour.removeprefix('#')}"


def _by_method(differences: tuple[Difference, ...]) -> dict[tuple[str, str], dict[int, Difference]]:
    """(method, baseline) -> n -> difference"""
    table: dict[tuple[str, str], dict[int, Difference]] = {}
    for one in differences:
        names = (
            label(one.method, one.scores, one.aggregate),
            label(one.baseline, one.baseline_scores, one.baseline_aggregate),
        )
        table.setdefault(names, {})[one.n] = one
    return table


def _rating(rating: float | None) -> str:
    if rating is None:
        return "not rated"
    return f"{rating:+.0f}".replace("-", "−").replace("+0", "0") if rating in (-1, 0, 1) else f"{rating:.2f}"


def _number(value: float) -> str:
    return "∞" if math.isinf(value) else f"{value:.3g}".replace("-", "−")


FILTERS: dict[str, Callable[..., str]] = {
    "percent": lambda share, digits=2: f"{100 * share:.{digits}f}",
    "signed": signed,
    "tokens": lambda count: f"{count:,.0f}",
    "score": lambda score: f"{score:.2f}".replace("-", "−"),
    "number": _number,
    "rating": _rating,
    "variable": lambda colour: f"var({_variable(colour)})",
}
