"""Strictness is chosen, not built in: each field of the policy changes exactly what it says."""

import pytest

from stepmark.grading import Policy, equal, grade
from stepmark.types import Problem


@pytest.mark.parametrize(
    ("policy", "a", "b", "by_default"),
    [
        (Policy(percent_as_number=False), r"20\%", "20", True),
        (Policy(decimal_digits=2), "1/3", "0.33", False),
        (Policy(decimal_digits=0), "1/3", "0.33333", True),
        (Policy(base="digits"), "2516_8", "2516", False),
        (Policy(base="value"), "2516_8", "1358", False),
        (Policy(ordered=True), "1,2", "2,1", True),
    ],
)
def test_a_field_changes_a_verdict(policy: Policy, a: str, b: str, by_default: bool) -> None:
    assert equal(a, b).correct is by_default
    assert equal(a, b, policy).correct is not by_default
    assert equal(b, a, policy).correct is not by_default


@pytest.mark.parametrize(
    ("policy", "gold", "meets", "fails"),
    [
        (Policy(reduced=True), r"\frac{1}{2}", r"\dfrac12", r"\frac{2}{4}"),
        (Policy(reduced=True), "5", "5", "10/2"),
        (Policy(units="required"), r"5\text{ cm}", "50 mm", "5"),
        (Policy(units="required"), r"90^\circ", "90 degrees", "90"),
        (Policy(same_form=True), "(x+1)(x+2)", "(2+x)(x+1)", "x^2+3x+2"),
        (Policy(same_form=True), r"\frac{1}{2}", "1/2", "0.5"),
    ],
)
def test_a_demand_is_made_of_the_answer_only(policy: Policy, gold: str, meets: str, fails: str) -> None:
    problem = Problem("p", "?", gold, "test")
    assert grade(problem, meets, policy).correct
    assert grade(problem, fails).correct
    assert grade(problem, fails, policy).value == "incorrect"
