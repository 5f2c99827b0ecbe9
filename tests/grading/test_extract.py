"""Answers in solutions: only a marked answer is an answer; a guess says that it is one."""

import pytest

from stepmark.grading import extract, reading


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"so \boxed{\frac{1}{2}}.", r"\frac{1}{2}"),
        (r"first \boxed{3}, hence the sum is \boxed{\{1, \sqrt{2}\}}", r"\{1, \sqrt{2}\}"),
        (r"\fbox{7}", "7"),
        (r"\boxed 9", "9"),
        (r"$\boxed{28}$ pct", "28 percent"),
        (r"\boxed{2} and \boxed{-3}", "2, -3"),
        (r"$x = \boxed{2} \quad \text{or} \quad x = \boxed{3}$", "2, 3"),
        (r"we get \boxed{3}, and the answer is \boxed{9}", "9"),
        (r"\boxed{1} ... \boxed{1}", "1"),
        (
            r"gives \boxed{255}. In all, 300. Final Answer: The final answer is $10,455$. I hope it is correct.",
            "$10,455$",
        ),
        ("6*3=18\n#### 18", "18"),
        ("#### 1\n\nQuestion: more\n#### 1,080", "1,080"),
        ("So she has 18.\nA: 18", "18"),
        ("# Answer\n\n18", "18"),
        ("**Answer:** 18", "18"),
        ("Answer: 3/4", "3/4"),
        ("The answer is 18.", "18"),
        ("So the answer is: $\\frac{1}{2}$, since it is half.", "$\\frac{1}{2}$"),
        ("The final answer is 3.5. I hope it is correct.", "3.5"),
        ("Final Answer: The volume of $ABCDEFGH$ is 120. I hope it is correct.", "120"),
        ("Final Answer: Jane started 3 hours ago.", "3"),
    ],
)
def test_a_marked_answer_is_found(text: str, answer: str) -> None:
    assert extract(text) == answer


@pytest.mark.parametrize(
    "text",
    [
        "We have 18 apples",
        r"cut off \boxed{1",
        r"cut off \boxed{\frac{1}{2}",
        r"\boxed{}",
        "",
        "I hope the answer is correct.",
        "x = 5",
    ],
)
def test_without_a_mark_there_is_no_answer(text: str) -> None:
    assert extract(text) is None


def test_a_truncated_box_does_not_hide_a_complete_one() -> None:
    assert extract(r"so \boxed{4}. Check: \boxed{\frac{8}{2") == "4"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"so \boxed{4}", ("4", "marked")),
        ("28 percent", ("28 percent", "whole")),
        (r"\frac{1}{2}", (r"\frac{1}{2}", "whole")),
        ("Therefore $x \\geq 5$ is the solution.", ("x \\geq 5", "guessed")),
        ("the number is not 10 which is 1,000.99€", ("1,000.99", "guessed")),
        ("", (None, "whole")),
    ],
)
def test_a_reading_says_how_the_answer_was_found(text: str, expected: tuple[str | None, str]) -> None:
    assert reading(text) == expected
