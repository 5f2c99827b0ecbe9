import numpy as np
import pytest

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, interval, resample


def test_intervals_cover_a_known_mean_as_often_as_they_say() -> None:
    """400 samples of 200 problems with mean exactly 0.8: the number of 90 % intervals that hold it is binomial, 360
    with standard deviation 6. The bounds are 4 of those, so a right method fails once in 15,000 seeds."""
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(400):
        values_P_1 = rng.choice([0.0, 0.5, 1.0], p=[0.1, 0.2, 0.7], size=(200, 1))  # mean 0.8
        low, high = interval(
            values_P_1.mean(axis=0), resample(values_P_1, Bootstrap(resamples=500, seed=trial)), level=0.9
        )
        held += int(low[0] <= 0.8 <= high[0])
    assert 336 <= held <= 384


def test_the_interval_has_the_width_of_the_normal_approximation() -> None:
    """For a mean over many problems: 2 x 1.96 standard deviations / sqrt(P)."""
    values_P_1 = np.random.default_rng(0).random((1000, 1))
    low, high = interval(values_P_1.mean(axis=0), resample(values_P_1, Bootstrap()), 0.95)
    assert high[0] - low[0] == pytest.approx(2 * 1.96 * values_P_1.std() / 1000**0.5, rel=0.03)


def test_a_paired_difference_is_narrower_than_an_unpaired_one() -> None:
    """Two methods that mostly solve the same problems: what is hard for both cancels within a resample, and does not
    when each method is resampled for itself."""
    rng = np.random.default_rng(0)
    difficulty_P = rng.random(300)
    values_P_2 = np.stack([difficulty_P, np.clip(difficulty_P + 0.02 + 0.05 * rng.standard_normal(300), 0, 1)], axis=1)
    one = resample(values_P_2, Bootstrap(resamples=2000, seed=1))
    other = resample(values_P_2, Bootstrap(resamples=2000, seed=2))
    mean = values_P_2.mean(axis=0) @ [-1, 1]
    paired_low, paired_high = interval(mean, one[:, 1] - one[:, 0], 0.95)
    unpaired_low, unpaired_high = interval(mean, one[:, 1] - other[:, 0], 0.95)
    assert paired_high - paired_low < 0.2 * (unpaired_high - unpaired_low)
    assert paired_low > 0 > unpaired_low


def test_unanimous_problems_do_not_make_certainty() -> None:
    """20 of 20 solved: the exact lower bound is 0.025^(1/20) = 0.8316 (Clopper & Pearson)."""
    values_P_2 = np.stack([np.ones(20), np.zeros(20)], axis=1)
    low, high = accuracy_interval(values_P_2, resample(values_P_2, Bootstrap(resamples=10)), 0.95)
    assert low == pytest.approx([0.8316, 0], abs=1e-4)
    assert high == pytest.approx([1, 1 - 0.8316], abs=1e-4)


def test_the_seed_decides_the_interval() -> None:
    values_P_1 = np.random.default_rng(0).random((50, 1))
    same = [resample(values_P_1, Bootstrap(resamples=1500, seed=seed)) for seed in (3, 3, 4)]
    assert same[0].shape == (1500, 1)
    assert (same[0] == same[1]).all()
    assert (same[0] != same[2]).any()


def test_nothing_to_average_is_refused() -> None:
    with pytest.raises(InputError, match="no problems"):
        resample(np.zeros((0, 1)), Bootstrap())
    with pytest.raises(InputError, match="finite"):
        resample(np.array([[np.nan]]), Bootstrap())
