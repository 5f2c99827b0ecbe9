from math import inf, nan

import numpy as np
import pytest

from stepmark.budget.difficulty import Bins, pass_rate, predicted
from stepmark.errors import InputError


def test_ease_is_a_share_of_right_solutions_or_a_mean_score():
    assert pass_rate([True, False, False, True]) == 0.5
    assert predicted([0.2, None, 0.6]) == pytest.approx(0.4)
    assert predicted([None, None]) == -inf


def test_bins_hold_a_fifth_of_the_problems_each_the_easiest_first():
    ease = np.random.default_rng(0).permutation(np.arange(100) / 100)
    bins = Bins.quantiles(list(ease))
    numbers = [bins.of(one) for one in ease]
    assert [numbers.count(b) for b in range(5)] == [20] * 5
    assert all(ease[i] >= ease[j] for i in range(100) for j in range(100) if numbers[i] < numbers[j])


def test_problems_of_equal_ease_share_a_bin():
    """A pass rate is 0 or 1 for many problems; a cut through them would be chance."""
    ease = [0.0] * 30 + [0.5] * 10 + [1.0] * 60
    bins = Bins.quantiles(ease)
    assert bins.of(1.0) == 0 < bins.of(0.5) == bins.of(0.0) < bins.of(-inf) == 4


def test_a_problem_without_any_finished_solution_is_the_hardest():
    bins = Bins.quantiles([-inf] * 50 + [0.3] * 25 + [0.6] * 25)
    assert bins.of(-inf) == 4
    assert bins.of(0.3) < 4


def test_one_bin_holds_all():
    assert [Bins.quantiles([0.1, 0.9], 1).of(x) for x in (-inf, 0.5, 1.0)] == [0, 0, 0]


@pytest.mark.parametrize(
    "make",
    [lambda: Bins.quantiles([]), lambda: Bins.quantiles([-inf]), lambda: pass_rate([]), lambda: predicted([nan])],
)
def test_nothing_is_no_difficulty(make):
    with pytest.raises(InputError):
        make()
