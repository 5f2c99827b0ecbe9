"""Whether two answers are equal."""

import re
from collections.abc import Hashable, Sequence
from fractions import Fraction

from stepmark.types import Problem, Verdict

_DECIMAL = re.compile(r"[+-]?(?:\d{1,1000}(?:\.\d{0,1000})?|\.\d{1,1000})")
_FRACTION = re.compile(r"([+-]?)(?:\\[dt]?frac\{(\d{1,1000})\}\{(\d{1,1000})\}|(\d{1,1000})/(\d{1,1000}))")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")


def grade(problem: Problem, answer: str | None) -> Verdict:
    """The verdict on `answer`, the extracted answer of a finished solution. A solution without an answer has not solved
    its problem: it is incorrect, with the reason "no answer"."""
    return Verdict("incorrect", "no answer") if answer is None or not answer.strip() else equal(problem.gold, answer)


def equal(a: str, b: str) -> Verdict:
    """Whether two answers are equal; symmetric."""
    if not a.strip() or not b.strip():
        return Verdict("incorrect", "no answer")
    same = _key(a) == _key(b)
    return Verdict("correct", "equal after normalisation") if same else Verdict("incorrect", f"{a} is not {b}")


def classes(answers: Sequence[str | None]) -> list[int | None]:
    """The equivalence class of each answer, numbered by first appearance; None for no answer."""
    seen: dict[Hashable, int] = {}
    return [None if answer is None else seen.setdefault(_key(answer), len(seen)) for answer in answers]


def _key(answer: str) -> Hashable:
    text = answer.strip().strip("$").replace("\\$", "").replace("{,}", "").strip()
    text = _THOUSANDS.sub("", text).rstrip(".")
    if _DECIMAL.fullmatch(text):
        return Fraction(text)
    if (found := _FRACTION.fullmatch(text)) and int(found[3] or found[5]):
        return Fraction(int(found[1] + (found[2] or found[4])), int(found[3] or found[5]))
    return re.sub(r"\s+", " ", text).casefold()
