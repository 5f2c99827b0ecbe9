"""The choice per bin and budget, on figures by hand and where the truth is known."""

import numpy as np
import pytest

from stepmark.budget.optimal import choose, cross_validate
from stepmark.errors import InputError

# fmt: off
VALUES = np.array([  # four problems, the easiest first; arms: cheap, dear for easy ones, dear for hard ones
    [0.5, 1.0, 0.0],
    [0.5, 1.0, 0.0],
    [0.0, 0.0, 1.0],
    [0.0, 0.2, 1.0],
])
# fmt: on
COSTS = np.array([[1.0, 4.0, 4.0]] * 4)
EASE = [0.9, 0.8, 0.2, 0.1]


def test_the_best_arm_of_a_bin_within_the_budget_is_chosen():
    chosen = choose(VALUES, COSTS, EASE, [1, 3.9, 4], count=2)
    assert chosen.arms_B_K.tolist() == [[0, 0, 1], [0, 0, 2]]


def test_of_equal_arms_the_cheaper_one_and_of_equally_dear_ones_the_first():
    values = np.array([[0.5, 0.5, 0.5]] * 2)
    assert choose(values, np.array([[4, 2, 2]] * 2), [0.1, 0.2], [4], count=1).arms_B_K.tolist() == [[1]]


def test_a_bin_without_problems_takes_what_is_best_on_all():
    chosen = choose(VALUES, COSTS, [1.0] * 4, [4], count=3)
    assert chosen.arms_B_K.tolist() == [[1], [1], [1]]


def test_a_budget_that_nothing_fits_and_folds_without_problems_are_refused():
    with pytest.raises(InputError, match="cheapest costs 1"):
        choose(VALUES, COSTS, EASE, [0.5])
    with pytest.raises(InputError, match="folds"):
        cross_validate(VALUES[:1], COSTS[:1], EASE[:1], [4])


def synthetic(problems=400, seed=0):
    """Ten arms at one cost. On the easy half arm 3 solves .9 of the problems, on the hard half arm 7 does; all others,
    and these on the other half, solve .5."""
    rng = np.random.default_rng(seed)
    ease_P = rng.random(problems)
    chances_P_A = np.full((problems, 10), 0.5)
    chances_P_A[ease_P >= 0.5, 3] = 0.9
    chances_P_A[ease_P < 0.5, 7] = 0.9
    return (rng.random((problems, 10)) < chances_P_A).astype(float), list(ease_P)


def test_where_the_truth_is_known_it_is_found_and_its_accuracy_is_not_flattered():
    values, ease = synthetic()
    held = cross_validate(values, np.ones_like(values), ease, [1], count=2)
    assert {int(arm) for arm, one in zip(held.arms_P_K[:, 0], ease, strict=True) if one > 0.6} == {3}
    assert {int(arm) for arm, one in zip(held.arms_P_K[:, 0], ease, strict=True) if one < 0.4} == {7}
    assert held.of(values).mean() == pytest.approx(0.9, abs=0.05)


def test_a_choice_among_arms_that_are_all_alike_gains_nothing():
    """The best of 40 equal arms looks better than they are where it is chosen, and is as good as they are where it is
    not: what cross-validation is for."""
    seen, held_out = [], []
    for seed in range(20):
        values = (np.random.default_rng(seed).random((60, 40)) < 0.5).astype(float)
        ease = list(np.random.default_rng(seed + 99).random(60))
        best = choose(values, np.ones_like(values), ease, [1])
        arms = best.arms_B_K[[best.bins.of(one) for one in ease], 0]
        seen.append(values[np.arange(60), arms].mean())
        held_out.append(cross_validate(values, np.ones_like(values), ease, [1]).of(values).mean())
    assert np.mean(seen) > 0.65
    assert np.mean(held_out) == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(60 * 20))


def test_the_labels_of_a_fold_never_influence_its_own_choice():
    values, ease = synthetic(problems=60)
    costs = 1 + np.random.default_rng(1).random(values.shape)
    held = cross_validate(values, costs, ease, [1.5, 2.0])
    for fold in range(2):
        mine = held.folds_P == fold
        for seed in range(5):
            other = values.copy()
            other[mine] = np.random.default_rng(seed).permuted(1 - values[mine], axis=1)
            again = cross_validate(other, costs, ease, [1.5, 2.0])
            np.testing.assert_array_equal(again.arms_P_K[mine], held.arms_P_K[mine])
            assert (again.arms_P_K[~mine] != held.arms_P_K[~mine]).any()


def test_folds_are_of_equal_size_and_hang_on_the_seed():
    values, ease = synthetic(problems=61)
    one, other = (cross_validate(values, np.ones_like(values), ease, [1], seed=seed) for seed in (0, 1))
    assert sorted(np.bincount(one.folds_P)) == [30, 31]
    assert (one.folds_P != other.folds_P).any()
