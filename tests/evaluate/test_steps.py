import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.errors import InputError, ScoreError
from stepmark.evaluate.steps import calibration, first_below, first_error

scores = st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.57, 0.7, 0.9, 1.0])


def test_first_error_counts_exact_places_and_harmonic_mean() -> None:
    """By hand: of three erroneous solutions one is found at its place, one too early, one not at all; of two correct
    ones, one is left alone."""
    scores_N_S = [[0.9, 0.2, 0.1], [0.4, 0.9, 0.1], [0.9, 0.9], [0.8, 0.5], [0.9, 0.3]]
    result = first_error(scores_N_S, [1, 2, 0, None, None], threshold=0.5)
    assert (result.erroneous, result.correct) == (pytest.approx(1 / 3), 0.5)
    assert result.f1 == pytest.approx(2 / (3 + 2))


def test_f1_of_a_scorer_that_is_never_right_is_zero() -> None:
    assert first_error([[0.9], [0.1]], [0, None], threshold=0.5).f1 == 0


def test_a_score_at_the_threshold_is_no_error() -> None:
    assert first_below([0.5, 0.4], 0.5) == 1
    assert first_below([0.5], 0.5) is None


def test_first_error_refuses_what_it_cannot_judge() -> None:
    with pytest.raises(InputError, match="some of both"):
        first_error([[0.5]], [0], 0.5)
    with pytest.raises(InputError, match="2 steps"):
        first_error([[0.5, 0.5]], [2], 0.5)
    for broken in ([], [float("nan")]):
        with pytest.raises(ScoreError):
            first_error([broken], [None], 0.5)


@settings(deadline=None)
@given(st.lists(st.tuples(scores, st.booleans()), min_size=1, max_size=30), st.sampled_from([1, 5, 10]))
def test_calibration_error_is_the_weighted_gap_of_its_bins(steps: list[tuple[float, bool]], bins: int) -> None:
    result = calibration([score for score, _ in steps], [right for _, right in steps], bins)
    gap = 0.0
    for b, found in enumerate(result.bins):
        inside = [(s, r) for s, r in steps if found.low <= s < found.high or (s == 1 and b == bins - 1)]
        assert found.count == len(inside)
        if inside:
            assert found.score == pytest.approx(np.mean([s for s, _ in inside]))
            assert found.right == pytest.approx(np.mean([r for _, r in inside]))
            gap += len(inside) / len(steps) * abs(found.score - found.right)
        else:
            assert found.score is None
            assert found.right is None
    assert result.error == pytest.approx(gap)


def test_scores_that_are_the_true_frequencies_are_calibrated() -> None:
    """ECE of calibrated scores is sampling noise: about 0.8 sqrt(p (1 - p) / 2,000) per bin of 20,000 steps."""
    rng = np.random.default_rng(0)
    scores_K = rng.random(20_000)
    assert calibration(scores_K.tolist(), (rng.random(20_000) < scores_K).tolist()).error < 0.02
    assert calibration([0.9] * 10, [True] * 5 + [False] * 5).error == pytest.approx(0.4)


def test_unbounded_scores_have_no_calibration() -> None:
    for broken in ([1.5], [-0.1], [float("nan")], []):
        with pytest.raises(ScoreError):
            calibration(broken, [True] * len(broken))
