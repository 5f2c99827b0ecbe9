"""The colours of a report: one pair for each use, light and dark.

Charts are drawn in the light colours, written as hexadecimal. In the page every one of them becomes a CSS variable, so
that the same chart is legible on dark paper and in print (`page.py`). Hues are apart for colour-blind readers too; no
figure is told by its colour alone.
"""

import re
from collections.abc import Iterable, Mapping

INK, MUTED, GRID, PAPER = "#1b1f24", "#5b6470", "#e3e6ea", "#ffffff"
MAJORITY, ORACLE = "#6b727c", "#343a41"
ORM, PRM = "#c65102", "#0067b0"
OTHERS = ("#00805b", "#b3317c", "#8f6500", "#6a4cc2", "#a01f35", "#007f93")
"""further reward models, in the order in which they appear"""

DARK: Mapping[str, str] = {
    INK: "#e8eaed",
    MUTED: "#a3abb6",
    GRID: "#2d333b",
    PAPER: "#14171b",
    MAJORITY: "#98a0ab",
    ORACLE: "#d3d8de",
    ORM: "#ff914d",
    PRM: "#5aaef2",
    **dict(zip(OTHERS, ("#3cc795", "#ee82bd", "#d3a63a", "#ab98ff", "#f27d8d", "#3fc3d6"), strict=True)),
}
"""light -> dark"""


def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each reward model, by its name and its place among the names: `orm` is always orange, the first that
    is called a PRM is blue, the rest take what is left, and begin again when nothing is."""
    distinct = list(dict.fromkeys(names))
    given: dict[str, str] = {}
    for word, colour in (("orm", ORM), ("prm", PRM)):
        if (name := next((n for n in distinct if word in re.split(r"[\W_]+", n.lower())), None)) is not None:
            given.setdefault(name, colour)
    left = [colour for colour in (PRM, *OTHERS, ORM) if colour not in given.values()]
    rest = [name for name in distinct if name not in given]
    return {**given, **{name: left[i % len(left)] for i, name in enumerate(rest)}}
