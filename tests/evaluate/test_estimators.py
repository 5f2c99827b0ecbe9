"""Exact expectations against the enumeration of every subset, which is the definition."""

from fractions import Fraction
from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepmark.errors import InputError, ScoreError
from stepmark.evaluate.estimators import best_of_n, majority, pass_at_k, vote
from stepmark.search import best_of_n as best
from stepmark.search import vote as voting

Candidate = tuple[int, int | None, int | None]
"""correct (0 / 1), score (small integers, so that ties abound; None: no score), answer class (None: does not vote)"""

pools = st.lists(
    st.tuples(st.integers(0, 1), st.none() | st.integers(0, 3), st.none() | st.integers(0, 3)), min_size=1, max_size=8
)


def enumerate_subsets(pool: list[Candidate], n: int, value) -> float:
    return float(sum(Fraction(value(subset)) for subset in combinations(pool, n)) / comb(len(pool), n))


def value_of_best(subset: tuple[Candidate, ...]) -> Fraction:
    scored = [(score, correct) for correct, score, _ in subset if score is not None]
    top = [correct for score, correct in scored if score == max(score for score, _ in scored)]
    return Fraction(sum(top), max(len(top), 1))


def value_of_vote(pool: list[Candidate], weighted: bool):
    """Majority or weighted vote; a class is worth the mean correctness of its voters in the pool."""

    def voters(candidates, answer):
        chosen = [candidate for candidate in candidates if candidate[2] == answer]
        return [candidate for candidate in chosen if not weighted or candidate[1] is not None]

    def value(subset: tuple[Candidate, ...]) -> Fraction:
        totals = {
            answer: sum(candidate[1] if weighted else 1 for candidate in voters(subset, answer))
            for answer in range(4)
            if voters(subset, answer)
        }
        top = [answer for answer, total in totals.items() if total == max(totals.values())]
        worth = [Fraction(sum(c[0] for c in voters(pool, a)), len(voters(pool, a))) for a in top]
        return sum(worth, Fraction(0)) / max(len(top), 1)

    return value


def arrays(pool: list[Candidate]):
    correct_N = np.array([float(correct) for correct, _, _ in pool])
    scores_N = np.array([np.nan if score is None else float(score) for _, score, _ in pool])
    classes_N = np.array([-1 if answer is None else answer for _, _, answer in pool])
    return correct_N, scores_N, ~np.isnan(scores_N), classes_N


@settings(deadline=None)
@given(pools)
def test_best_of_n_is_the_mean_over_all_subsets(pool: list[Candidate]) -> None:
    correct_N, scores_N, scored_N, _ = arrays(pool)
    ns = range(1, len(pool) + 1)
    expected = [enumerate_subsets(pool, n, value_of_best) for n in ns]
    assert best_of_n(correct_N, scores_N, ns, scored_N) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(pools)
def test_pass_at_k_is_the_mean_over_all_subsets(pool: list[Candidate]) -> None:
    correct_N, *_ = arrays(pool)
    ns = range(1, len(pool) + 1)
    expected = [enumerate_subsets(pool, n, lambda subset: max(correct for correct, _, _ in subset)) for n in ns]
    assert pass_at_k(correct_N, ns) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(pools)
def test_majority_in_closed_form_is_the_mean_over_all_subsets(pool: list[Candidate]) -> None:
    correct_N, _, _, classes_N = arrays(pool)
    ns = range(1, len(pool) + 1)
    expected = [enumerate_subsets(pool, n, value_of_vote(pool, weighted=False)) for n in ns]
    estimate = vote(correct_N, classes_N, ns, subsets=2)
    assert estimate.values_K == pytest.approx(expected, abs=1e-12)
    assert not estimate.variances_K.any()


@settings(deadline=None)
@given(pools)
def test_weighted_vote_with_few_subsets_is_enumerated(pool: list[Candidate]) -> None:
    correct_N, scores_N, scored_N, classes_N = arrays(pool)
    ns = range(1, len(pool) + 1)
    expected = [enumerate_subsets(pool, n, value_of_vote(pool, weighted=True)) for n in ns]
    estimate = vote(correct_N, np.where(scored_N, classes_N, -1), ns, np.where(scored_N, scores_N, 0.0))
    assert estimate.values_K == pytest.approx(expected, abs=1e-12)
    assert not estimate.variances_K.any()


@settings(deadline=None)
@given(pools, st.randoms())
def test_the_order_of_candidates_does_not_matter(pool: list[Candidate], random) -> None:
    shuffled = random.sample(pool, len(pool))
    ns = range(1, len(pool) + 1)
    one, two = (
        (best_of_n(correct_N, scores_N, ns, scored_N), vote(correct_N, classes_N, ns).values_K)
        for correct_N, scores_N, scored_N, classes_N in (arrays(pool), arrays(shuffled))
    )
    assert one[0] == pytest.approx(two[0], abs=1e-12)
    assert one[1] == pytest.approx(two[1], abs=1e-12)


@settings(deadline=None)
@given(pools)
def test_at_n_equal_to_all_candidates_the_estimators_are_the_methods(pool: list[Candidate]) -> None:
    correct_N, scores_N, scored_N, classes_N = arrays(pool)
    size = len(pool)
    chances_N = best.chances([score for _, score, _ in pool])
    assert best_of_n(correct_N, scores_N, [size], scored_N)[0] == pytest.approx(chances_N @ correct_N)
    worth = {c: correct_N[classes_N == c].mean() for c in range(4) if (classes_N == c).any()}
    majority = voting.chances([answer for _, _, answer in pool])
    expected = sum(chance * worth[answer] for answer, chance in majority.items())
    assert vote(correct_N, classes_N, [size]).values_K[0] == pytest.approx(expected)


def test_with_one_candidate_every_method_is_pass_at_1() -> None:
    """Nothing is left to choose. (Where every candidate has an answer and a score.)"""
    rng = np.random.default_rng(0)
    classes_N = rng.integers(0, 4, 30)
    correct_N = (classes_N == 0).astype(float)
    scores_N = rng.random(30)
    for value in (
        best_of_n(correct_N, scores_N, [1])[0],
        pass_at_k(correct_N, [1])[0],
        vote(correct_N, classes_N, [1]).values_K[0],
        vote(correct_N, classes_N, [1], scores_N).values_K[0],
    ):
        assert value == pytest.approx(correct_N.mean())


def test_sampled_votes_agree_with_the_closed_form_within_their_standard_error() -> None:
    """|z| < 4 at every n: under the null this fails once in 2,000 runs, and the seed is fixed."""
    rng = np.random.default_rng(1)
    classes_N = rng.choice(5, 40, p=[0.35, 0.3, 0.2, 0.1, 0.05])
    correct_N = (classes_N == 0).astype(float)
    ns = [3, 5, 8, 16, 30]
    exact_K = vote(correct_N, classes_N, ns).values_K
    sampled = vote(correct_N, classes_N, ns, np.full(40, 0.1), subsets=2000)
    assert (sampled.variances_K > 0).all()
    assert (np.abs(sampled.values_K - exact_K) < 4 * np.sqrt(sampled.variances_K)).all()


def test_equal_weights_tie_whatever_the_order_of_addition() -> None:
    """0.1 + 0.2 + 0.3 and 0.3 + 0.2 + 0.1 differ in their last bit; the vote must not see it."""
    classes_N = np.array([0, 0, 0, 1, 1, 1])
    weights_N = np.array([0.1, 0.2, 0.3, 0.3, 0.2, 0.1])
    correct_N = np.array([1.0, 1, 1, 0, 0, 0])
    assert vote(correct_N, classes_N, [6], weights_N).values_K[0] == 0.5
    assert voting.chances(classes_N.tolist(), weights_N.tolist()) == {0: 0.5, 1: 0.5}


def test_the_probabilities_of_a_large_pool_sum_to_one() -> None:
    """All candidates correct: whatever is chosen is right. Factorials of 1,860 would overflow."""
    ns = [2**k for k in range(11)] + [1860]
    ones_N, scores_N = np.ones(1860), np.random.default_rng(0).random(1860)
    assert best_of_n(ones_N, scores_N, ns) == pytest.approx(np.ones(len(ns)), abs=1e-12)
    assert pass_at_k(np.eye(1860)[0], ns) == pytest.approx(np.array(ns) / 1860, rel=1e-9)
    assert majority(np.array([1.0]), np.array([64]), 0, [1, 33, 64]) == pytest.approx(np.ones(3), abs=1e-12)


@pytest.mark.parametrize("n", [0, 5])
def test_sizes_that_the_pool_cannot_give_are_refused(n: int) -> None:
    classes_N, ones_N = np.zeros(4, dtype=int), np.ones(4)
    for estimate in (
        lambda: best_of_n(ones_N, ones_N, [n]),
        lambda: pass_at_k(ones_N, [n]),
        lambda: vote(ones_N, classes_N, [n]),
        lambda: vote(ones_N, classes_N, [n], ones_N),
    ):
        with pytest.raises(InputError, match="n = "):
            estimate()


def test_nan_and_negative_weights_are_refused() -> None:
    with pytest.raises(InputError, match="NaN"):
        best_of_n(np.ones(2), np.array([0.5, np.nan]), [1])
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ScoreError):
            vote(np.ones(2), np.zeros(2, dtype=int), [1], np.array([0.5, wrong]))
        with pytest.raises(ScoreError):
            voting.chances([0, 1], [0.5, wrong])
    with pytest.raises(ScoreError):
        best.chances([0.5, float("nan")])
