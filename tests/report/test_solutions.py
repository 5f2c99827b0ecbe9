import random
from collections import Counter

import pytest

from stepmark.errors import InputError, ScoreError
from stepmark.report import Judged, contrasts
from tests.report.example import judged


def many(seed: int, problems: int = 12, each: int = 6) -> list[Judged]:
    """Distinct scores, so that no threshold is tied."""
    rng = random.Random(seed)
    scores = iter(rng.sample(range(1000), problems * each))
    return [judged(f"p{p}", rng.random() < 0.6, next(scores) / 1000) for p in range(problems) for _ in range(each)]


@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_every_pair(seed: int) -> None:
    """Against enumeration: each solution in one cell, each pair of a correct and an incorrect one in one group."""
    solutions = many(seed)
    found = contrasts("PRM", "last", solutions, threshold=0.55)
    cells = Counter((one.verdict.correct, one.score >= 0.55) for one in solutions)
    assert found.accepted == (cells[True, True], cells[False, True])
    assert found.rejected == (cells[True, False], cells[False, False])
    pairs = Counter(
        (a.score >= 0.55, b.score >= 0.55)
        for a in solutions
        for b in solutions
        if a.problem.id == b.problem.id and a.verdict.correct and not b.verdict.correct
    )
    assert {(g.accepts_correct, g.accepts_incorrect): g.pairs for g in found.groups if g.pairs} == dict(pairs)


@pytest.mark.parametrize("seed", range(5))
def test_a_contrast_is_what_its_group_says(seed: int) -> None:
    found = contrasts("PRM", "last", many(seed), each=3)
    assert sum(len(group.shown) for group in found.groups) > 4
    for group in found.groups:
        assert len(group.shown) == min(3, group.problems)
        for pair in group.shown:
            assert pair.correct.problem == pair.incorrect.problem
            assert pair.correct.verdict.correct
            assert not pair.incorrect.verdict.correct
            assert found.accepts(pair.correct) == group.accepts_correct
            assert found.accepts(pair.incorrect) == group.accepts_incorrect


def test_without_a_threshold_as_many_are_accepted_as_are_correct() -> None:
    """So false positives equal false negatives, whatever the scale of the scores."""
    found = contrasts("PRM", "last", many(0))
    assert found.accepted[1] == found.rejected[0] > 0


def test_without_a_correct_solution_none_is_accepted() -> None:
    found = contrasts("PRM", "last", [judged("p", False, 0.9)])
    assert found.accepted == (0, 0)
    assert found.rejected == (0, 1)


def test_an_ungraded_solution_is_neither_correct_nor_incorrect() -> None:
    found = contrasts("PRM", "last", [judged("p", None, 0.9), judged("p", True, 0.8)])
    assert found.ungraded == 1
    assert sum(found.accepted + found.rejected) == 1


def test_the_seed_decides_what_is_shown() -> None:
    solutions = many(1)
    assert contrasts("PRM", "last", solutions, seed=3) == contrasts("PRM", "last", solutions, seed=3)
    shown = {contrasts("PRM", "last", solutions, each=1, seed=seed).groups for seed in range(10)}
    assert len(shown) > 1, "one of 10 seeds shows another pair, but with odds below 1e-6"


def test_shades_follow_the_score() -> None:
    """Probabilities on their own scale; unbounded scores between their 5 % and 95 % quantiles, clipped there."""
    probabilities = contrasts("PRM", "last", [judged("p", True, 0.4, 0.6)])
    assert [probabilities.shade(score) for score in (0, 0.04, 0.5, 0.96, 1)] == [0, 0, 5, 10, 10]
    unbounded = contrasts("PRM", "last", [judged("p", True, *(float(s) for s in range(-50, 51)))])
    assert unbounded.scale == (-45, 45)
    shades = [unbounded.shade(score) for score in range(-60, 61)]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0, 10)
    constant = contrasts("PRM", "last", [judged("p", True, 3.0, 3.0)])
    assert constant.shade(3.0) == 5


def test_scores_that_do_not_fit_are_refused() -> None:
    right = judged("p", True, 0.4, 0.6)
    for wrong in ((0.4,), (0.4, float("nan")), ()):
        broken = Judged(right.problem, right.steps, wrong, 0.5, "4", right.verdict)
        with pytest.raises(ScoreError, match="2 steps"):
            contrasts("PRM", "last", [broken])
    with pytest.raises(InputError, match="no solution has a verdict"):
        contrasts("PRM", "last", [judged("p", None, 0.9)])
