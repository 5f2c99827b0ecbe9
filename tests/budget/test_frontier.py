from math import isnan, nan

import numpy as np
import pytest

from stepmark.budget.frontier import accuracy_at, cost_at, saving
from stepmark.errors import InputError

COSTS, ACCURACY = [1, 4, 16, 64], [0.2, 0.4, 0.35, 0.6]


def test_a_curve_is_read_between_its_points_along_the_logarithm_of_cost():
    assert accuracy_at(COSTS, ACCURACY, 2) == pytest.approx(0.3)
    assert cost_at(COSTS, ACCURACY, 0.3) == pytest.approx(2)
    assert cost_at(COSTS, ACCURACY, 0.5) == pytest.approx(32)
    for accuracy in np.linspace(0.21, 0.6, 20):
        assert accuracy_at(COSTS, ACCURACY, cost_at(COSTS, ACCURACY, accuracy)) == pytest.approx(accuracy)


def test_whoever_may_spend_more_need_not():
    """The point that costs more and solves less is passed by."""
    assert accuracy_at(COSTS, ACCURACY, 16) == 0.4
    assert accuracy_at(COSTS[::-1], ACCURACY[::-1], 16) == 0.4


def test_nothing_is_extrapolated():
    assert isnan(accuracy_at(COSTS, ACCURACY, 0.5))
    assert accuracy_at(COSTS, ACCURACY, 1000) == 0.6
    assert isnan(cost_at(COSTS, ACCURACY, 0.7))
    assert cost_at(COSTS, ACCURACY, 0.1) == 1


def test_a_curve_shifted_by_four_saves_four_times():
    costs = [4, 16, 64]
    assert saving([1, 4, 16], [0.1, 0.2, 0.3], costs, [0.1, 0.2, 0.3]) == pytest.approx([4, 4, 4])
    np.testing.assert_array_equal(np.isnan(saving([1], [0.2], costs, [0.1, 0.2, 0.3])), [False, False, True])


def test_a_curve_needs_points():
    for costs, accuracy in (([], []), ([0.0], [0.5]), ([nan], [0.5])):
        with pytest.raises(InputError):
            accuracy_at(costs, accuracy, 1)
