"""Hostile input: bounded work, no exception, no code run. The device is the reason of a verdict, not a clock."""

from pathlib import Path

import pytest

from stepmark.grading import classes, equal, extract, reading
from stepmark.grading.grader import INTERNAL

HOSTILE = [
    "9**9**9", "9^9^9^9", "10^{10^{10^{10}}}", "99999999!", "9" * 999 + "!", "2^{9999999}", "1e999", 
    "1" + "!" * 500,
    "(" * 1_000, "{" * 5_000, r"\frac{" * 300, r"\sqrt{" * 35 + "2" + "}" * 35, r"\boxed{" * 10_000, "((1,2)," * 200,
    "1" * 100_000, "x" * 100_000, "-" * 2_000 + "1", "+" * 2_000, "|" * 501, "1/" * 500 + "1", "2^" * 100 + "2",
    "\\" * 3_000,
    "(x+y+z+w)^{200}", "((((x+1)^{50}+1)^{50}+1)^{50}", r"\sin(10^{10^{9}})", r"\binom{10^9}{5*10^8}",
    "e^{e^{e^{e^{10}}}}",
    r"\sum_{k=1}^{10^{9}} k", r"\lfloor 10^{50}\pi \rfloor", r"\sqrt{" + "7" * 900 + "}", "x^{" + "9" * 500 + "}",
    r"(1+\sqrt2+\sqrt3+\sqrt5+\sqrt7+\sqrt{11})^{40}", ",".join(map(str, range(700))), r"\pm 1" * 50,
    ",".join(rf"\sqrt{{{i}}}" for i in range(300)), "+".join(rf"\sin({i}x)" for i in range(150)), r"\cup" * 200,
    "0^0", "1/0", r"\frac{0}{0}", r"\infty-\infty", "0^{-1}", r"\log 0", r"\tan(\pi/2)",
    "{0.__class__}", "%s%s%n", "\x00\x00", "1\x002", "\u0661\u0662", "а", "\ud800", "#" * 9_999,
    "answer" + " " * 50_000,
    r"\[" * 9_999, "$" * 9_999, "answer is " * 5_000, "\n" * 50_000 + "answer",
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: text[:20].encode("ascii", "replace").decode())
def test_hostile_text_gets_a_verdict(text: str) -> None:
    """Each would cost minutes, gigabytes or the process if its size were not bounded before it is evaluated."""
    for gold in ("7", r"\frac{\sqrt2}{3}", "x^2+1", "(1,2)", text + "+1"):
        assert not equal(gold, text).reason.startswith(INTERNAL)
        assert not equal(gold, text).correct
    extract(text)
    reading(text)
    classes([text, "1", text + "1"])


def test_no_code_runs(tmp_path: Path) -> None:
    """Text reaches no evaluator: Python in every spelling that sympy's parser would run leaves no trace."""
    mark = tmp_path / "ran"
    for code in (
        f"open('{mark}','w')",
        f"__import__('os').system('touch {mark}')",
        f"exec(\"open('{mark}','w')\")",
        f"$(touch {mark})",
        f"`touch {mark}`",
        f"; touch {mark}",
        f"Symbol('x', **{{'a': open('{mark}','w')}})",
        f"sympify(\"open('{mark}','w')\")",
        f"\\text{{open('{mark}','w')}}",
    ):
        for gold in ("7", "x", r"\frac{1}{3}"):
            equal(gold, code)
            extract(f"\\boxed{{{code}}}")
    assert not mark.exists()


def test_look_alikes_are_not_the_letters_they_look_like() -> None:
    assert not equal("a", "\u0430").correct  # Cyrillic a
    assert not equal("x", "\u0445").correct
    assert equal("12", "\uff11\uff12").correct  # full-width digits are digits
