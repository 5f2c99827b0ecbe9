"""The grader's front: texts in, verdicts out, by a cascade that ends at the first step that decides.

1. the same text, or two plain integers; 2. both parsed, compared by meaning (`compare`); 3. other readings of what is
ambiguous (`1,200` as a pair). Verdicts are cached by pair. Texts of any length and content may come: sizes are bounded
before anything is evaluated, and no exception leaves these functions.
"""

import re
from collections.abc import Hashable, Sequence
from functools import lru_cache
from typing import NamedTuple

from stepmark.grading import choices, numeric
from stepmark.grading.compare import same, with_common_integers
from stepmark.grading.forms import alternatives, read
from stepmark.grading.policy import DEFAULT, Policy
from stepmark.grading.requirements import unmet
from stepmark.grading.scalars import Outcome
from stepmark.types import Problem, Verdict

_INTEGER = re.compile(r"[+-]?[0-9]{1,300}(?:\.0{1,9})?")
_CACHED_LENGTH = 500
INTERNAL = "internal error"
"""how the reason of a verdict begins that a fault of the grader prevented; the tests hold that there is none"""


def grade(problem: Problem, answer: str | None, policy: Policy = DEFAULT) -> Verdict:
    """The verdict on the extracted answer of a finished solution.

    A solution without an answer has not solved its problem: None and blank text are incorrect, with the reason "no
    answer". Ungraded is kept for answers that are there and cannot be judged; a truncated or lost solution has no
    verdict at all, and whoever calls must not ask for one. If the question lists options (A), (B), ..., a letter and
    the text of its option are equal. The policy's demands on form are made of the answer, with the gold answer as the
    model.
    """
    if answer is None or not answer.strip():
        return Verdict("incorrect", "no answer")
    if not problem.gold.strip():
        return Verdict("ungraded", "no gold answer")
    verdict = equal(problem.gold, answer, policy)
    if not verdict.correct:
        by_choice = choices.translate(problem.question, problem.gold, answer)
        if by_choice is not None:
            verdict = equal(*by_choice, policy)
    if verdict.correct and policy != DEFAULT and (demand := unmet(problem.gold, answer, policy)) is not None:
        return Verdict("incorrect", demand)
    return verdict


def equal(a: str, b: str, policy: Policy = DEFAULT) -> Verdict:
    """Whether two answers are equal: correct, incorrect, or ungraded where that cannot be decided. Symmetric."""
    a, b = a.strip(), b.strip()
    if not a or not b:
        return Verdict("incorrect", "no answer")
    if a == b:
        return Verdict("correct", "the same text")
    if b < a:
        a, b = b, a
    if _INTEGER.fullmatch(a) and _INTEGER.fullmatch(b):
        return (
            _SAME_NUMBER
            if int(a.partition(".")[0]) == int(b.partition(".")[0])
            else Verdict("incorrect", f"{_short(a)} is not {_short(b)}")
        )
    if len(a) > _CACHED_LENGTH or len(b) > _CACHED_LENGTH:
        return _equal.__wrapped__(a, b, policy)
    return _equal(a, b, policy)


_SAME_NUMBER = Verdict("correct", "the same number")


@lru_cache(maxsize=1 << 16)
def _equal(a: str, b: str, policy: Policy) -> Verdict:
    try:
        outcome = _outcome(a, b, policy)
    except Exception as error:  # a fault of ours must neither end a run nor count as a wrong answer
        return Verdict("ungraded", f"{INTERNAL}: {type(error).__name__} {error}"[:200])
    if outcome.equal is None:
        return Verdict("ungraded", outcome.reason)
    if outcome.equal:
        return Verdict("correct", outcome.reason)
    return Verdict("incorrect", f"{_short(a)} is not {_short(b)}: {outcome.reason}")


def _outcome(a: str, b: str, policy: Policy) -> Outcome:
    outcome = same(*with_common_integers(read(a), read(b)), policy)
    if outcome.equal:
        return outcome
    if (letters := choices.letters(a, b)) is not None:
        return Outcome(letters, "the same choice" if letters else "different choices")
    for reading in alternatives(a):
        if (other := same(reading, read(b), policy)).equal:
            return other
    for reading in alternatives(b):
        if (other := same(read(a), reading, policy)).equal:
            return other
    return outcome


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def classes(answers: Sequence[str | None], policy: Policy = DEFAULT) -> list[int | None]:
    """The equivalence class of each answer, numbered by first appearance; None for no answer (None or blank).

    Two answers share a class when `equal` accepts them; an ungraded pair does not. Where tolerance makes equality
    intransitive (1/3, 0.3333, 0.33333), an answer joins the first class whose first member it equals.
    """
    by_text: dict[str, int] = {}
    by_key: dict[Hashable, int] = {}
    members: list[_Member] = []
    result: list[int | None] = []
    for answer in answers:
        text = None if answer is None else answer.strip()
        if not text:
            result.append(None)
            continue
        if text not in by_text:
            one = _member(text)
            if one.key not in by_key:
                by_key[one.key] = _class(one, members, policy)
            by_text[text] = by_key[one.key]
        result.append(by_text[text])
    return result


class _Member(NamedTuple):
    """The first answer of a class, with what spares most comparisons."""

    text: str
    key: Hashable
    """answers of one key are equal"""
    exact: bool
    """a plain number: two with different keys differ"""
    size: float | None
    """of a number: two that are far apart differ, if at most one has a unit or a percent sign"""
    bare: bool


def _member(text: str) -> _Member:
    if _INTEGER.fullmatch(text):
        value = int(text.partition(".")[0])
        return _Member(text, value, True, float(value) if abs(value) < 10**300 else None, True)
    node = read(text)
    bare = node.head not in ("quantity", "percent") and "circ" not in text
    inner = node if node.head != "quantity" else node.args[0]
    if inner.head not in ("num", "mul", "pow", "add", "const", "percent"):
        return _Member(text, node, False, None, bare)
    exact = inner is node and node.head == "num" and node.places is None and "," not in text
    key: Hashable = (int(node.value) if node.value.denominator == 1 else node.value) if exact else node
    return _Member(text, key, exact, numeric.constant(inner), bare)


def _class(one: _Member, members: list[_Member], policy: Policy) -> int:
    """The class of a new key: that of the first member it equals, or a new one."""
    for index, other in enumerate(members):
        if one.exact and other.exact:
            continue
        if one.size is not None and other.size is not None and (one.bare or other.bare):
            distance = min(abs(one.size * factor - other.size) for factor in (1.0, 100.0, 0.01))
            if distance > 1e-2 * max(abs(other.size), 1e-9):
                continue
        if equal(other.text, one.text, policy).correct:
            return index
    members.append(one)
    return len(members) - 1
