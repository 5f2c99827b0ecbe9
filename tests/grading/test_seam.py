"""The functions that everything else calls: what they promise for plain answers."""

import pytest

from stepmark.grading import VERSION, classes, equal, extract, grade
from stepmark.types import Problem


@pytest.mark.parametrize(
    ("gold", "answer"), [("18", "$18"), ("1,000", "1000.0"), ("1/2", r"\frac{1}{2}"), ("0.5", ".5"), ("Paris", "paris")]
)
def test_one_value_in_two_spellings_is_equal_in_both_directions(gold: str, answer: str) -> None:
    assert equal(gold, answer).correct
    assert equal(answer, gold).correct


def test_different_values_are_incorrect() -> None:
    assert equal("18", "-18").value == "incorrect"
    assert equal("1/2", "1/3").value == "incorrect"


def test_no_answer_is_incorrect_and_says_so() -> None:
    verdict = grade(Problem("p", "1+1?", "2", "test"), None)
    assert (verdict.value, verdict.reason) == ("incorrect", "no answer")


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        ("6*3=18\n#### 18", "18"),
        ("A: 18", "18"),
        ("The answer is 18.", "18"),
        ("We have 18 apples", None),
        (r"cut off \boxed{1", None),
    ],
)
def test_only_a_marked_answer_is_an_answer(text: str, answer: str | None) -> None:
    assert extract(text) == answer


def test_classes_are_numbered_by_first_appearance_and_no_answer_has_none() -> None:
    assert classes(["2", None, "1/2", "2.0", "0.5"]) == [0, None, 1, 0, 1]


def test_the_version_is_a_string() -> None:
    assert isinstance(VERSION, str)
