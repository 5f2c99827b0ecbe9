"""Verdicts: pairs of answers that are equal, pairs that are not, and what holds of every verdict."""

import threading
from pathlib import Path

import pytest

from stepmark.grading import VERSION, classes, equal, grade
from stepmark.types import Problem

CASES = Path(__file__).parents[1] / "cases"


def pairs(name: str) -> list[tuple[str, str]]:
    """The pairs of a case file, `a ||| b` a line."""
    rows = [line.split("|||") for line in (CASES / name).read_text().splitlines() if line.strip()]
    return [(a.strip(), b.strip()) for a, b in rows]


@pytest.mark.parametrize(("a", "b"), pairs("equal_answers.txt"))
def test_one_answer_in_two_spellings_is_equal_in_both_orders(a: str, b: str) -> None:
    assert equal(a, b).correct, equal(a, b).reason
    assert equal(a, b) == equal(b, a)


@pytest.mark.parametrize(("a", "b"), pairs("different_answers.txt"))
def test_a_wrong_answer_near_a_right_one_is_incorrect(a: str, b: str) -> None:
    assert equal(a, b).value == "incorrect", equal(a, b).reason
    assert equal(a, b) == equal(b, a)


@pytest.mark.parametrize("missing", [None, "", "  \n"])
def test_no_answer_is_incorrect_whatever_the_gold_and_says_so(missing: str | None) -> None:
    for gold in ("2", "", r"\emptyset"):
        verdict = grade(Problem("p", "1+1?", gold, "test"), missing)
        assert (verdict.value, verdict.reason) == ("incorrect", "no answer")


def test_a_problem_without_a_gold_answer_is_ungraded() -> None:
    verdict = grade(Problem("p", "?", " ", "test"), "5")
    assert (verdict.value, verdict.reason) == ("ungraded", "no gold answer")


@pytest.mark.parametrize("answer", [r"\frac{1}{", "9^{9^{9^{9}}}", "if n is even then 3 else 4", "x" * 10_000])
def test_what_cannot_be_judged_is_ungraded_and_says_why(answer: str) -> None:
    verdict = equal("7", answer)
    assert verdict.value == "ungraded"
    assert verdict.reason


def test_the_same_text_is_equal_even_where_it_is_not_understood() -> None:
    assert equal("if n is even: 3, else 4", " if n is even: 3, else 4 ").correct


def test_a_verdict_has_a_reason_a_person_can_read() -> None:
    assert equal("18", "81").reason == "18 is not 81"
    assert "open against closed" in equal("(0,1)", "[0,1]").reason
    assert equal("2516_8", "2516").reason.endswith("a numeral in base 8 against one without")


QUESTION = r"Which? $\textbf{(A)}\ \frac{1}{2} \qquad \textbf{(B)}\ 3 \qquad \textbf{(C)}\ 5 \qquad \textbf{(D)}\ 12$"


@pytest.mark.parametrize(
    ("gold", "answer", "correct"),
    [("B", "3", True), ("3", "(B)", True), ("A", "0.5", True), ("B", "5", False), ("12", "C", False), ("B", "B", True)],
)
def test_an_option_is_its_letter_where_the_question_lists_it(gold: str, answer: str, correct: bool) -> None:
    assert grade(Problem("p", QUESTION, gold, "test"), answer).correct is correct


def test_classes_are_numbered_by_first_appearance_and_no_answer_has_none() -> None:
    assert classes(["2", None, "1/2", "2.0", "0.5", "", r"\frac{2}{4}", "7"]) == [0, None, 1, 0, 1, None, 1, 2]


def test_classes_are_those_of_equal() -> None:
    """Voting groups what grading accepts: two answers share a class if and only if they are equal (no chain of
    approximations is among these)."""
    answers = [answer for pair in pairs("equal_answers.txt")[:40] for answer in pair]
    found = classes(answers)
    first: dict[int | None, str] = {}
    for answer, one in zip(answers, found, strict=True):
        assert equal(first.setdefault(one, answer), answer).correct
    members = list(first.values())
    assert not any(equal(a, b).correct for i, a in enumerate(members) for b in members[:i])


def test_threads_get_the_verdicts_of_one_thread() -> None:
    """No signal, no global precision: training and serving grade from many threads."""
    every = pairs("equal_answers.txt")[:60]
    wrong: list[str] = []

    def work(shift: int) -> None:
        for a, b in every[shift:] + every[:shift]:
            if not equal(a + " " * shift, b + "\t" * shift).correct:
                wrong.append(a)

    threads = [threading.Thread(target=work, args=(shift,)) for shift in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_the_version_is_a_string() -> None:
    assert isinstance(VERSION, str)
    assert VERSION
