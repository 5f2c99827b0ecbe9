import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepmark.errors import ScoreError
from stepmark.rewards.aggregate import Aggregation, aggregate, sort_key

HOWS: tuple[Aggregation, ...] = ("product", "min", "last", "mean", "logits")
probabilities = st.lists(st.floats(0, 1), min_size=1, max_size=12)


def test_each_aggregation_by_hand() -> None:
    scores = [0.5, 0.25, 0.8]
    by_hand = [0.1, 0.25, 0.8, pytest.approx(1.55 / 3), pytest.approx(math.log(4 / 3))]  # odds 1, 1/3 and 4
    assert [aggregate(scores, how) for how in HOWS] == by_hand


def test_logits_of_certainty_are_finite() -> None:
    """Two certain steps of opposite kinds leave nothing, as they must by symmetry."""
    assert aggregate([0.0, 1.0], "logits") == pytest.approx(0, abs=1e-6)
    assert math.isfinite(aggregate([1.0] * 100, "logits"))


@given(probabilities, probabilities)
def test_sort_key_orders_as_the_aggregate_does(one: list[float], two: list[float]) -> None:
    """Only rounding may separate them, which needs two products that agree to 12 digits."""
    for how in HOWS:
        a, b = aggregate(one, how), aggregate(two, how)
        if not math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-300):
            assert (sort_key(one, how) < sort_key(two, how)) == (a < b)


def test_long_products_keep_their_order_where_floats_underflow() -> None:
    """0.1^400 and 0.1^401 are both 0.0 in double precision, and the shorter solution is still the better one."""
    assert aggregate([0.1] * 400, "product") == 0.0
    assert sort_key([0.1] * 400, "product") > sort_key([0.1] * 401, "product") > -math.inf
    assert sort_key([0.5, 0.0], "product") == -math.inf


@given(st.permutations([0.1, 0.7, 0.3, 0.9, 0.31, 0.77]))
def test_solutions_with_the_same_step_scores_in_another_order_tie(scores: list[float]) -> None:
    """Exactly, not up to rounding: a difference in the last bit would choose between equals."""
    for how in ("product", "min", "mean", "logits"):
        assert aggregate(scores, how) == aggregate(sorted(scores), how)
        assert sort_key(scores, how) == sort_key(sorted(scores), how)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("broken", [[], [0.5, math.nan], [math.inf], [-math.inf, 0.5]])
def test_scores_that_are_no_numbers_are_refused(broken: list[float], how: Aggregation) -> None:
    for function in (aggregate, sort_key):
        with pytest.raises(ScoreError):
            function(broken, how)


@pytest.mark.parametrize("unbounded", [[-2.0, -3.0], [0.5, 1.01]])
def test_a_product_of_unbounded_scores_is_refused(unbounded: list[float]) -> None:
    """-2 times -3 would make two bad steps a good solution."""
    for function in (aggregate, sort_key):
        with pytest.raises(ScoreError, match="min, last or mean"):
            function(unbounded, "product")
        with pytest.raises(ScoreError, match="min, last or mean"):
            function(unbounded, "logits")
    assert aggregate(unbounded, "min") == min(unbounded)
