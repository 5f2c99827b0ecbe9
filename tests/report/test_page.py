"""The page is read back as a browser reads it: what it shows, what it would load, what it would run."""

import json
import re
import struct
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import vl_convert

from stepmark.errors import InputError
from stepmark.report import write
from stepmark.report.palette import DARK
from tests.report.example import CURVES, DIFFERENCES, HARM, NS, report

VOID = {"meta", "link", "img", "br", "hr", "input", "base", "source", "track", "area", "embed", "col", "wbr"}


class Page(HTMLParser):
    """Elements in their order, each with its attributes and the text right within it; and what is in which table."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []  # (element, text)
        self.figures: dict[str, list[float]] = {}  # table's class -> values of its <data> elements
        self.open: list[str] = []
        self.table = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        self.elements.append((tag, attributes))
        if tag == "table":
            self.table = attributes["class"] or ""
            self.figures.setdefault(self.table, [])
        if tag == "data":
            self.figures[self.table].append(float(attributes["value"] or ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes something else"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(report(), tmp_path_factory.mktemp("report") / "new" / "folder")


@pytest.fixture(scope="module")
def page(written: Path) -> Page:
    return Page(written.read_text())


@pytest.fixture(scope="module")
def harmed(tmp_path_factory: pytest.TempPathFactory) -> Page:
    return Page(write(report(HARM), tmp_path_factory.mktemp("harm")).read_text())


def test_every_figure_is_in_a_table(page: Page) -> None:
    """With all its digits in the markup, so that a page can be read back, and in the order of the curves."""
    points = [point for curve in CURVES for point in curve.points]
    accuracies = [
        figure
        for p in points
        for figure in (p.accuracy, p.low, p.high, *([p.standard_error] if p.standard_error else []))
    ]
    assert page.figures["accuracies"] == accuracies
    assert page.figures["differences"] == [f for one in DIFFERENCES for f in (one.difference, one.low, one.high)]
    assert page.figures["costs"] == [figure for p in points for figure in (p.generated, p.scored)]
    assert page.figures["confusion"] == [1, 1, 1, 1]


def test_what_is_shown_is_what_is_meant(page: Page) -> None:
    shown = [text for element, text in page.texts if element == "data"]
    assert {"81.23", "+19.23", "+10.00", "984", "1,440", "0.12"} <= set(shown)


def test_an_unknown_cost_is_called_unknown(tmp_path: Path) -> None:
    """A missing cost shown as 0 would make a method look free."""
    unknown = replace(CURVES[3], points=tuple(replace(p, generated=None, scored=None) for p in CURVES[3].points))
    page = Page(write(replace(report(), curves=(unknown,), pictures=(), solutions=()), tmp_path).read_text())
    assert page.figures["costs"] == []
    assert [text for element, text in page.texts if element in ("td", "small")].count("unknown") == len(NS)


def test_nothing_is_loaded(page: Page, written: Path) -> None:
    """No element refers outside the page, and the policy in its head forbids to, whatever the scripts would do."""
    loading = {"src", "srcset", "href", "action", "data", "poster", "xlink:href", "background", "formaction"}
    assert not [(tag, a) for tag, attributes in page.elements for a in attributes if a in loading]
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.elements}
    styles = [text for element, text in page.texts if element == "style"]
    assert styles
    assert not [text for text in styles if "url(" in text or "@import" in text]
    policies = [a["content"] or "" for a in page.all("meta") if a.get("http-equiv") == "Content-Security-Policy"]
    assert policies[0].startswith("default-src 'none';")
    assert not re.search(r"connect-src|https?:|\*", policies[0])
    assert written.stat().st_size < 2_000_000


def test_a_models_text_is_text(page: Page, harmed: Page) -> None:
    """Markup and templates in steps, questions, answers, names and settings change no element of the page."""
    assert [tag for tag, _ in harmed.elements] == [tag for tag, _ in page.elements]
    assert not harmed.all("img")
    shown = "".join(text for element, text in harmed.texts if element not in ("script", "style"))
    for place in ("Title ", "fact ", "value ", "note ", "setting ", "How many? ", "4 ", "because "):
        assert place + HARM in shown
    assert f"{HARM} (1)" in shown, "a step"
    assert "49" not in re.findall(r"\d+", shown), "the template within the text was run"


def test_charts_are_sound(page: Page, harmed: Page) -> None:
    """The charts in the page compile, and take all colours from the page's theme."""
    for one in (page, harmed):
        specifications = [json.loads(t) for element, t in one.texts if element == "script" and t.startswith("{")]
        assert len(specifications) == len(one.all("figure"))
        for specification in specifications:
            assert not re.search(r"#[0-9a-f]{6}", json.dumps(specification))
            vl_convert.vegalite_to_vega(specification)
    styles = "".join(text for element, text in page.texts if element == "style")
    used = set(re.findall(r"var\((--c-[0-9a-f]{6})\)", "".join(text for _, text in page.texts)))
    assert all(styles.count(f"{name}: #") == 2 for name in used), "each has a light and a dark value"


def test_the_page_can_be_read_aloud(page: Page) -> None:
    """Language, labels that exist, headers of tables, captions of figures."""
    assert page.all("html")[0]["lang"] == "en"
    ids = [a["id"] for _, a in page.elements if "id" in a]
    assert len(set(ids)) == len(ids)
    assert {a["aria-labelledby"] for _, a in page.elements if "aria-labelledby" in a} <= set(ids)
    assert all(a["scope"] in ("row", "col") for a in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert len(page.all("figcaption")) == len(page.all("figure"))
    assert all(a["aria-pressed"] == "true" for a in page.all("button"))


def test_pictures_stand_beside_the_page(written: Path, page: Page) -> None:
    names = {a["id"] for a in page.all("figure")}
    assert {"accuracy", "cost", "gains", "calibration", "agreement"} <= names
    files = sorted(path.name for path in (written.parent / "pictures").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in names for kind in ("png", "svg"))
    for name in names:
        drawing = ElementTree.parse(written.parent / "pictures" / f"{name}.svg").getroot()
        png = (written.parent / "pictures" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG\r\n")
        width, height = struct.unpack(">II", png[16:24])
        assert (width, height) == (2 * float(drawing.attrib["width"]), 2 * float(drawing.attrib["height"]))


def test_the_same_report_gives_the_same_bytes(written: Path, tmp_path: Path) -> None:
    again = write(report(), tmp_path)
    for path in written.parent.rglob("*.*"):
        assert path.read_bytes() == (again.parent / path.relative_to(written.parent)).read_bytes(), path.name


@pytest.mark.parametrize("names", [("a", "a"), ("../a",), ("A b",)])
def test_a_report_that_cannot_be_written_leaves_nothing(names: tuple[str, ...], tmp_path: Path) -> None:
    picture = report().pictures[0]
    broken = replace(report(), pictures=tuple(replace(picture, name=name) for name in names))
    with pytest.raises(InputError, match="a picture is named"):
        write(broken, tmp_path / "report")
    assert not list(tmp_path.iterdir())


def test_a_place_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="file"):
        write(replace(report(), pictures=()), tmp_path / "file")


def linear(colour: str) -> np.ndarray:
    channels = np.array([int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)])
    return np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)


def luminance(colour: str) -> float:
    return float(np.array([0.2126, 0.7152, 0.0722]) @ linear(colour))


def contrast(one: str, other: str) -> float:
    """WCAG 2's contrast ratio."""
    dark, light = sorted((luminance(one), luminance(other)))
    return (light + 0.05) / (dark + 0.05)


def test_everything_is_legible() -> None:
    """Names of lines are small text in the line's colour: at least 4.5 to 1 on the paper, light and dark; text on a
    step's colour, at every end of the scale, 7 to 1 on light paper and dark."""
    ink, _, grid, paper, *_ = DARK
    for light, dark in DARK.items():
        if light not in (paper, grid):
            assert contrast(light, paper) >= 4.5, light
            assert contrast(dark, DARK[paper]) >= 4.5, dark
    for name in ("worst", "middle", "best"):
        light, dark = steps_colours(name)
        assert contrast(ink, light) >= 7, light
        assert contrast(DARK[ink], dark) >= 5.5, dark


def steps_colours(name: str) -> list[str]:
    """Light, dark."""
    style = (Path(__file__).parents[2] / "src/stepmark/report/assets/style.css").read_text()
    return re.findall(rf"--{name}: (#[0-9a-f]{{6}})", style)


BLIND = {
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
"""what is seen of linear red, green and blue: Machado et al. 2009"""


def lab(rgb: np.ndarray) -> np.ndarray:
    """CIELAB under D65."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    x, y, z = np.cbrt(xyz / np.array([0.9505, 1, 1.089]))
    return np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)])


@pytest.mark.parametrize("blindness", BLIND)
@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_a_good_step_does_not_look_like_a_bad_one(blindness: str, theme: int) -> None:
    """To the colour-blind too; differences above 10 are seen at a glance."""
    worst, middle, best = (
        lab(np.array(BLIND[blindness]) @ linear(steps_colours(name)[theme])) for name in ("worst", "middle", "best")
    )
    assert np.linalg.norm(worst - best) > 20
    assert min(np.linalg.norm(worst - middle), np.linalg.norm(best - middle)) > 15
