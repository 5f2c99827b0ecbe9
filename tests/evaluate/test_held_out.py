import pytest

from stepmark.evaluate.held_out import figures
from stepmark.rewards.epochs import HeldOut


def test_figures_by_hand() -> None:
    """Two problems of two solutions. By the product the first problem's right solution is chosen (.81 against
    .18), of the second's the wrong one (.3 against .25). One of two first errors is found; no right step is accused."""
    held_out = [
        HeldOut("p", (0.9, 0.9), (True, True), 1.0),
        HeldOut("p", (0.9, 0.2), (True, False), 0.0),
        HeldOut("q", (0.5, 0.5, 0.999), (True, True, True), 1.0),
        HeldOut("q", (0.6, 0.5, 0.999), (False, None, None), 0.0),
    ]
    found = figures("product")(held_out)
    assert found["best of N"] == 0.5
    assert found["chance"] == 0.5
    assert found["first-error F1"] == pytest.approx(2 * 0.5 * 1.0 / 1.5)
    assert found["calibration"] is not None


def test_what_cannot_be_said_is_none() -> None:
    found = figures("min")([HeldOut("p", (0.9,), (True,), None), HeldOut("q", (0.5, 0.5), (None, False), None)])
    assert (found["first-error F1"], found["best of N"]) == (None, None)
    perfect = figures("min")([HeldOut("p", (1.0, 0.0), (True, False), None)])
    assert perfect["calibration"] == 0.0
