from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import InputError
from stepmark.evaluate.steps import calibration
from stepmark.report import Picture, curve_pictures, gain_picture, headline, reliability
from stepmark.report.palette import MAJORITY, ORM, PRM, colours
from stepmark.report.pictures import _apart, _ticks
from tests.report.example import CURVES, DIFFERENCES, curve


def values(picture: Picture) -> list[dict[str, Any]]:
    """The rows of what is measured: the largest of the chart's data sets."""
    return max(picture.chart.to_dict()["datasets"].values(), key=len)


def test_the_headline_claims_what_the_interval_allows() -> None:
    gain = replace(DIFFERENCES[2], difference=0.19234, low=0.15, high=0.23)
    of = "Best-of-16 by PRM (product) solves 81.2 % of the problems, "
    assert headline(CURVES, gain) == of + "19.2 points more than majority vote (95 % interval +15.0 to +23.0)."
    loss = replace(gain, difference=-0.02, low=-0.03, high=-0.01)
    assert headline(CURVES, loss) == of + "2.0 points less than majority vote (95 % interval −3.0 to −1.0)."
    none = replace(gain, difference=0.02, low=-0.001, high=0.041)
    told = "which cannot be told from majority vote (+2.0 points, 95 % interval −0.1 to +4.1)."
    assert headline(CURVES, none) == of + told
    over_orm = headline(CURVES, DIFFERENCES[5])
    assert "more than best-of-n by ORM (last)" in over_orm
    with pytest.raises(InputError, match="n = 64"):
        headline(CURVES, replace(gain, n=64))


def test_a_picture_shows_the_figures_it_is_given() -> None:
    accuracy, cost = curve_pictures(CURVES)
    shown = {(row["series"], row["n"]): (row["y"], row["low"], row["high"]) for row in values(accuracy)}
    names = ["majority vote", "oracle (pass@n)", "ORM, last", "PRM, product", "PRM, product, vote"]
    assert shown == {
        (name, point.n): (point.accuracy, point.low, point.high)
        for name, one in zip(names, CURVES, strict=True)
        for point in one.points
    }
    tokens = {(row["series"], row["n"]): row["x"] for row in values(cost)}
    assert tokens["PRM, product", 16] == 16 * (61.5 + 90)
    assert tokens["majority vote", 16] == 16 * 61.5


def test_costs_are_compared_only_where_they_are_known() -> None:
    """With the reward model's tokens unknown, all lines are over generated tokens, and the picture says so; without
    generated tokens there is no such picture. What an oracle knows has no cost."""
    unscored = curve("best_of_n", "PRM", "min", (0.5, 0.6, 0.7), scored=None)
    _, cost = curve_pictures((*CURVES[:3], unscored))
    assert {row["x"] for row in values(cost)} == {61.5, 4 * 61.5, 16 * 61.5}
    assert "cost is missing" in cost.caption
    assert not any("oracle" in row["series"] for row in values(cost))
    unknown = replace(unscored, points=tuple(replace(p, generated=None) for p in unscored.points))
    assert [picture.name for picture in curve_pictures((*CURVES[:2], unknown))] == ["accuracy"]


def test_a_method_has_one_colour_in_all_pictures() -> None:
    pictures = [
        *curve_pictures(CURVES),
        reliability({"ORM": calibration([0.5], [True]), "PRM": calibration([0.5], [True])}),
    ]
    for picture in pictures:
        for series in picture.series:
            expected = PRM if "PRM" in series.name else ORM if "ORM" in series.name else None
            assert expected is None or series.colour == expected
            assert "majority" not in series.name or series.colour == MAJORITY
    marks = {row["name"]: row["colour"] for row in values(replace(gain_picture([*DIFFERENCES, *DIFFERENCES])))}
    assert set(marks.values()) == {PRM}


def test_reward_models_differ_in_colour_while_colours_last() -> None:
    seven = [
        "internlm2_1_8b",
        "internlm2_7b",
        "math_shepherd",
        "qwen_prm",
        "rlhflow_prm",
        "skywork_prm",
        "skywork_1_5b",
    ]
    assert len(set(colours(seven).values())) == 7
    assert colours(seven)["qwen_prm"] == PRM
    assert colours(["platform", "my-orm"])["my-orm"] == ORM
    assert colours(["platform"])["platform"] == PRM, "a word within a word is none"


def test_many_reward_models_have_a_picture_for_each_method() -> None:
    many = [
        curve(method, f"prm{i}", how, (0.5, 0.6, 0.7))
        for i in range(4)
        for how in ("last", "min")
        for method in ("best_of_n", "weighted_vote")
    ]
    pictures = [picture for picture in curve_pictures((*CURVES[:2], *many)) if picture.name.startswith("accuracy")]
    assert len(pictures) == 4
    assert len({picture.name for picture in pictures}) == 4
    for picture in pictures:
        assert [series.name for series in picture.series] == [
            "prm0",
            "prm1",
            "prm2",
            "prm3",
            "majority vote",
            "oracle (pass@n)",
        ]
    scored = [row for picture in pictures for row in values(picture) if row["series"].startswith("prm")]
    assert len(scored) == sum(len(one.points) for one in many)


def test_gains_are_those_at_the_largest_n() -> None:
    rows = values(gain_picture([*DIFFERENCES, replace(DIFFERENCES[2], scores="other")]))
    assert sorted(row["value"] for row in rows) == sorted(
        100 * one.difference for one in [*DIFFERENCES, DIFFERENCES[2]] if one.n == 16
    )


heights = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@given(heights)
def test_names_of_lines_do_not_overlap(ys: list[float]) -> None:
    """At least a gap apart, in the order of their lines, none outside the chart while there is room."""
    gap = 0.05
    named = sorted(
        _apart([{"x": 10 + i / 10, "y": y} for i, y in enumerate(ys)], gap, 0.0, 1.0), key=lambda one: one["place"]
    )
    assert sorted(one["y"] for one in named) == sorted(ys)
    assert {one["x"] for one in named} == {10 + (len(ys) - 1) / 10}
    assert all(b["place"] - a["place"] >= gap - 1e-9 and a["y"] <= b["y"] for a, b in pairwise(named))
    assert named[0]["place"] >= -1e-9
    assert named[-1]["place"] <= 1 + 1e-9


@given(heights)
def test_a_name_that_has_room_stands_at_its_line(ys: list[float]) -> None:
    ys = sorted({0.1 * round(10 * y) for y in ys})
    assert [one["place"] for one in _apart([{"x": 1, "y": y} for y in ys], 0.05, 0.0, 1.0)] == pytest.approx(ys)


def test_names_of_lines_that_end_apart_do_not_move_each_other() -> None:
    ends = [{"x": 1, "y": 0.5}, {"x": 2, "y": 0.5}]
    assert _apart(ends, 0.05, 0.0, 1.0) == [{**end, "place": 0.5} for end in ends]


@given(st.floats(0, 1), st.floats(0, 1))
def test_ticks_hold_all_shares(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = _ticks(low, high)
    assert ticks[0] <= low + 1e-6
    assert ticks[-1] >= high - 1e-6
    assert 2 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
