from math import inf, isnan

import pytest

from stepmark.budget.exchange import Exchange, break_even, match
from stepmark.errors import InputError


@pytest.mark.parametrize(("ratio", "factor"), [(0.16, 257.75), (0.79, 14 + 39 / 0.79), (22, 14 + 39 / 22)])
def test_the_paper_s_ratios_with_a_model_fourteen_times_as_large(ratio, factor):
    assert Exchange(14, ratio).factor == pytest.approx(factor)


def test_both_sides_then_cost_the_same():
    """Counted out: parameters 10, trained on 700 tokens, 50 written."""
    small, trained, written, times = 10, 700, 50, 3
    large = 6 * times * small * trained + 2 * times * small * written
    factor = Exchange(times, written / trained).factor
    assert 6 * small * trained + 2 * small * factor * written == pytest.approx(large)
    assert break_even(times, factor) == pytest.approx(written / trained)
    assert break_even(3, 3) == inf


def test_the_small_model_s_curve_is_read_at_the_tokens_it_may_write():
    tokens, accuracy = [100, 400, 1600], [0.2, 0.4, 0.5]
    found = match(tokens, accuracy, large=0.32, large_tokens=50, exchange=Exchange(2, 3 / 14))
    assert found.exchange.factor == pytest.approx(16)
    assert (found.small, found.measured) == (pytest.approx(0.45), True)
    assert found.gain == pytest.approx(0.45 / 0.32 - 1)


def test_beyond_the_curve_the_last_point_is_all_that_is_known():
    far = match([100, 400], [0.2, 0.4], large=0.5, large_tokens=100, exchange=Exchange(14, 0.16))
    assert (far.small, far.measured) == (0.4, False)
    assert isnan(match([100], [0.2], large=0.5, large_tokens=10, exchange=Exchange(2, 100)).small)


def test_a_smaller_large_model_is_refused():
    for size, ratio in ((0.5, 1), (2, 0)):
        with pytest.raises(InputError):
            Exchange(size, ratio)
