"""Curves of a pool. Small pools are compared with plain loops over all subsets."""

from itertools import combinations

import numpy as np
import pytest

from stepmark.errors import InputError, ScoreError
from stepmark.evaluate.intervals import Bootstrap
from stepmark.evaluate.pool import Comparison, Graded, Scored, compare, default_sizes

FAST = Bootstrap(resamples=500)


def points(comparison: Comparison, method: str, name: str | None = None, how: str | None = None) -> dict[int, float]:
    (curve,) = [c for c in comparison.curves if (c.method, c.scores, c.aggregate) == (method, name, how)]
    return {point.n: point.accuracy for point in curve.points}


def draw(seed: int, sizes: tuple[int, ...]) -> tuple[list[Graded], list[list[list[float]]]]:
    """Problems whose class 0 is correct, with one to three step scores per candidate, from few values."""
    rng = np.random.default_rng(seed)
    problems, steps = [], []
    for size in sizes:
        classes = rng.integers(0, 3, size).tolist()
        tokens = tuple(rng.integers(10, 20, size).tolist())
        problems.append(Graded("p", tuple(c == 0 for c in classes), tuple(classes), tokens))
        steps.append([rng.choice([0.1, 0.5, 0.9], rng.integers(1, 4)).tolist() for _ in range(size)])
    return problems, steps


def test_accuracy_is_the_mean_over_problems_of_the_mean_over_subsets() -> None:
    problems, steps = draw(0, (5, 7, 6))
    ns = (1, 2, 4, 5)
    comparison = compare(problems, [Scored("prm", "min", steps)], ns=ns, bootstrap=FAST)
    for n in ns:
        expected = []
        for problem, steps_N_S in zip(problems, steps, strict=True):
            values = []
            for subset in combinations(range(len(steps_N_S)), n):
                best = max(min(steps_N_S[i]) for i in subset)
                values.append(np.mean([problem.correct_N[i] for i in subset if min(steps_N_S[i]) == best]))
            expected.append(np.mean(values))
        assert points(comparison, "best_of_n", "prm", "min")[n] == pytest.approx(np.mean(expected))


def test_differences_are_those_of_the_curves_and_exact_methods_have_no_standard_error() -> None:
    problems, steps = draw(1, (8,) * 40)
    comparison = compare(problems, [Scored("prm", "last", steps)], ns=(1, 4, 8), bootstrap=FAST)
    assert len(comparison.differences) == 2 * 3
    for one in comparison.differences:
        of_method = points(comparison, one.method, one.scores, one.aggregate)[one.n]
        assert one.difference == pytest.approx(of_method - points(comparison, "majority")[one.n])
        assert one.low <= one.difference <= one.high
    assert all(point.standard_error == 0 for curve in comparison.curves for point in curve.points)  # few subsets
    assert all(p.low <= p.accuracy <= p.high for curve in comparison.curves for p in curve.points)


def test_equal_scores_make_best_of_n_chance_and_weighted_vote_majority() -> None:
    """A reward model that knows nothing adds nothing and takes nothing away, at any n."""
    problems, steps = draw(2, (9,) * 5)
    flat = [[[0.3]] * len(steps_N_S) for steps_N_S in steps]
    comparison = compare(problems, [Scored("flat", "last", flat)], ns=(1, 3, 9), bootstrap=FAST)
    chance = np.mean([np.mean(problem.correct_N) for problem in problems])
    assert list(points(comparison, "best_of_n", "flat", "last").values()) == pytest.approx([chance] * 3)
    assert points(comparison, "weighted_vote", "flat", "last") == pytest.approx(points(comparison, "majority"))


def test_a_perfect_reward_model_reaches_the_oracle() -> None:
    problems, _ = draw(3, (6,) * 10)
    perfect = [[[float(bool(correct))] for correct in problem.correct_N] for problem in problems]
    comparison = compare(problems, [Scored("perfect", "last", perfect)], ns=(1, 2, 6), bootstrap=FAST)
    assert points(comparison, "best_of_n", "perfect", "last") == pytest.approx(points(comparison, "oracle"))


def test_long_solutions_are_told_apart_by_product_and_their_votes_count() -> None:
    """Products of 400 scores underflow to 0; the better ones must still win, and not by chance."""
    problems = [Graded("p", (True, False), (0, 1))]
    steps = [[[0.11] * 400, [0.1] * 400]]
    comparison = compare(problems, [Scored("prm", "product", steps)], ns=(2,), bootstrap=FAST)
    assert points(comparison, "best_of_n", "prm", "product") == {2: 1.0}
    assert points(comparison, "weighted_vote", "prm", "product") == {2: 1.0}


def test_another_aggregation_chooses_another_candidate() -> None:
    """By hand: the right candidate has the higher last score, the wrong one the higher minimum and product."""
    steps = [[[0.1, 0.9], [0.5, 0.5]]]
    problems = [Graded("p", (True, False), (0, 1))]
    for how, expected in (("last", 1), ("min", 0), ("product", 0)):
        comparison = compare(problems, [Scored("prm", how, steps)], ns=(2,), bootstrap=FAST)
        assert points(comparison, "best_of_n", "prm", how) == {2: expected}


def test_a_missing_score_is_no_score() -> None:
    """The unscored candidate is right, and is neither chosen nor heard; scored 0 or -1 it would be at times."""
    problems = [Graded("p", (True, False, False), (0, 1, 1))]
    comparison = compare(problems, [Scored("prm", "last", [[None, [0.0], [0.0]]])], ns=(1, 2, 3), bootstrap=FAST)
    assert set(points(comparison, "best_of_n", "prm", "last").values()) == {0.0}
    assert set(points(comparison, "weighted_vote", "prm", "last").values()) == {0.0}


def test_an_ungraded_candidate_earns_nothing_and_one_without_answer_does_not_vote() -> None:
    problems = [Graded("p", (True, None, None, None), (0, None, None, None))]
    comparison = compare(problems, ns=(1, 4), bootstrap=FAST)
    assert points(comparison, "majority") == {1: 0.25, 4: 1.0}


def test_negative_scores_rank_but_do_not_vote() -> None:
    problems, _ = draw(4, (4,) * 3)
    unbounded = [[[-3.0], [2.0], [0.5], [-1.0]]] * 3
    comparison = compare(problems, [Scored("orm", "last", unbounded)], ns=(2,), bootstrap=FAST)
    assert [(one.method, one.scores) for one in comparison.left_out] == [("weighted_vote", "orm")]
    assert [c.method for c in comparison.curves] == ["majority", "oracle", "best_of_n"]
    with pytest.raises(ScoreError, match=r"orm, problem 'p', candidate 0: .* product"):
        compare(problems, [Scored("orm", "product", unbounded)], ns=(2,), bootstrap=FAST)


def test_tokens_grow_with_n_and_unknown_ones_stay_unknown() -> None:
    problems = [Graded("p", (True, False), (0, 1), (10, 20)), Graded("p", (True, False), (0, 1), (30, 40))]
    steps = [[[0.5], [0.5]]] * 2
    scored = [Scored("known", "last", steps, [[5, 7], [5, 7]]), Scored("unknown", "last", steps)]
    comparison = compare(problems, scored, ns=(1, 2), bootstrap=FAST)
    found = {(c.method, c.scores): [(p.generated, p.scored) for p in c.points] for c in comparison.curves}
    assert found["best_of_n", "known"] == [(25, 6), (50, 12)]
    assert found["best_of_n", "unknown"] == [(25, None), (50, None)]
    assert found["majority", None] == [(25, 0), (50, 0)]


def test_labels_that_split_an_answer_class_are_counted() -> None:
    comparison = compare([Graded("p", (True, False), (0, 0))], ns=(1, 2), bootstrap=FAST)
    assert comparison.mixed == 1
    assert points(comparison, "majority") == {1: 0.5, 2: 0.5}


def test_the_same_seed_gives_the_same_result() -> None:
    problems, steps = draw(5, (24,) * 4)
    results = [
        compare(problems, [Scored("prm", "last", steps)], ns=(8,), subsets=50, bootstrap=Bootstrap(100, seed=seed))
        for seed in (0, 0, 1)
    ]
    assert results[0] == results[1] != results[2]


def test_what_the_pool_cannot_give_is_refused() -> None:
    problems, steps = draw(6, (4, 3))
    with pytest.raises(InputError, match="n = 4 is above the 3 candidates"):
        compare(problems, ns=(4,))
    with pytest.raises(InputError, match="no problems"):
        compare([], ns=(1,))
    with pytest.raises(InputError, match="twice"):
        compare(problems, [Scored("prm", "last", steps)] * 2, ns=(1,))
    with pytest.raises(ScoreError, match="1 of 2 problems"):
        compare(problems, [Scored("prm", "last", steps[:1])], ns=(1,))
    with pytest.raises(ScoreError, match="2 scores for 3 candidates"):
        compare(problems, [Scored("prm", "last", [steps[0], steps[1][:-1]])], ns=(1,))


@pytest.mark.parametrize(("candidates", "expected"), [(1, (1,)), (2, (1, 2)), (5, (1, 2, 4, 5)), (8, (1, 2, 4, 8))])
def test_default_sizes_end_with_all_candidates(candidates: int, expected: tuple[int, ...]) -> None:
    assert default_sizes(candidates) == expected
