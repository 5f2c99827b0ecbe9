"""Properties over random answers; `python -m benchmarks.grading_fuzz` runs them by the hundred thousand."""

import random
from itertools import islice

import pytest

from benchmarks.grading_fuzz import answers, perturbed, rewritten, strings
from stepmark.grading import classes, equal, extract, reading
from stepmark.grading.grader import INTERNAL

N = 1_500


def random_answers(seed: int, n: int = N) -> list[str]:
    return list(islice(answers(random.Random(seed)), n))


def test_no_small_change_of_an_answer_is_accepted() -> None:
    """A sign, a digit, an exponent, an end of an interval, a dropped entry, swapped entries: another value."""
    rng = random.Random(1)
    wrong = [(gold, change) for gold in random_answers(1, 4 * N) if (change := perturbed(gold, rng)) is not None]
    assert len(wrong) > N
    assert [(gold, change) for gold, change in wrong if equal(gold, change[1]).correct] == []


def test_an_answer_rewritten_by_an_identity_stays_accepted() -> None:
    rng = random.Random(2)
    rewrites = [(gold, *rewritten(gold, rng)) for gold in random_answers(2)]
    rejected = [one for one in rewrites if not equal(one[0], one[2]).correct]
    assert len(rejected) <= 0.02 * len(rewrites), rejected


def test_equality_is_symmetric_and_reflexive() -> None:
    noise = strings(random.Random(3))
    for a, b in zip(random_answers(3), noise, strict=False):
        assert equal(a, b) == equal(b, a)
        assert equal(a, f" {a}\n").correct
        assert not b.strip() or equal(b, f" {b} ").correct


def test_no_string_raises_or_finds_a_fault() -> None:
    for text, gold in zip(strings(random.Random(4)), random_answers(4), strict=False):
        assert not equal(gold, text).reason.startswith(INTERNAL)
        extract(text)
        reading(text)
        assert len(classes([text, gold, None])) == 3


@pytest.mark.parametrize("names", ["xyz", "ab", "tq"])
def test_polynomials_agree_with_sympy(names: str) -> None:
    """Equality of random polynomials and their rearrangements, against sympy's expand: an independent reference."""
    import sympy

    rng = random.Random(names)
    symbols = sympy.symbols(list(names))

    def linear() -> sympy.Expr:
        return sum((rng.randint(-4, 4) * s for s in symbols), sympy.Integer(rng.randint(-4, 4)))

    for _ in range(25):
        p = linear() * linear() + rng.randint(-3, 3) * linear() ** 2
        q = sympy.expand(p) if rng.random() < 0.5 else linear() * linear()
        expected = sympy.expand(p - q) == 0
        assert equal(sympy.latex(p), sympy.latex(q)).correct is expected
        assert equal(str(p).replace("**", "^"), str(q).replace("**", "^")).correct is expected
