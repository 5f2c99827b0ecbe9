"""Math-Shepherd (Wang et al. 2024, arXiv 2312.08935): `{"input", "label", "task"}`.

`input` is `question Step 1: ... ки\\nStep 2: ... ки`, and `label` the same text with `+` or `-` in place of each `ки`.
A step's text is what stands between its number and its mark; a numbered step without a mark is one that is not rated.
Labels are hard estimates by rollouts. The answer is what the last step says after `The answer is:`.

White space around numbers and marks is not kept, the words are.
"""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from stepmark.errors import InputError
from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, targets
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution

MARK = "ки"
FIRST = re.compile(r"\s*\bStep 1: ?")
ANSWER = "The answer is:"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    input: str
    label: str
    task: str = ""


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """Raises InputError, naming file, line and field: no `Step 1:`, steps that are not numbered 1, 2, ..., and a
    `label` that is not the `input` with signs for marks."""
    build = Builder("math-shepherd", "rollout-hard")
    for line, row in read_rows(path, Row, lost):
        try:
            ratings = _signs(row)
            question, steps, marked = _steps(row.input)
        except ValueError as error:
            raise InputError(str(error), path=path, line=line, remedy="restore the row, or remove it") from None
        signs = iter(ratings)
        answer = steps[-1].rpartition(ANSWER)[2].strip() if ANSWER in steps[-1] else None
        values = [next(signs) if mark else None for mark in marked]
        yield build(question, steps, values, answer=answer, extra={"task": row.task} if row.task else {})


def _signs(row: Row) -> list[float]:
    """The value of each mark, found in `label` where the text of `input` says that it must be."""
    signs, at = [], 0
    *texts, rest = row.input.split(MARK)
    for number, text in enumerate(texts, 1):
        sign = row.label[at + len(text) : at + len(text) + 1]
        if not row.label.startswith(text, at) or sign not in ("+", "-"):
            raise ValueError(f"field label: it is not the input with + or - for mark {number}")
        signs.append(float(sign == "+"))
        at += len(text) + 1
    if row.label[at:] != rest:
        raise ValueError("field label: it ends otherwise than the input")
    return signs


def _steps(text: str) -> tuple[str, list[str], list[bool]]:
    """The question, the steps, and which of them are marked."""
    first = FIRST.search(text)
    if first is None:
        raise ValueError("field input: there is no `Step 1:`")
    steps, marked = [], []
    rest, number = text[first.end() :], 2
    while True:
        end = re.search(rf"({MARK})?\s*\n\s*Step {number}: ?|({MARK})?\s*\Z", rest)
        assert end is not None  # the end of the text at least
        step = rest[: end.start()].strip()
        if MARK in step:
            raise ValueError(f"field input: there is a mark within step {number - 1}, or the next is not numbered")
        steps.append(step)
        marked.append(MARK in end[0])
        if end.end() == len(rest) and "Step" not in end[0]:
            return text[: first.start()], steps, marked
        rest, number = rest[end.end() :], number + 1


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """Values that are neither right nor wrong, and steps that hold a mark or a number of their own, are left out."""
    put(path, (row for one in solutions for row in [_row(one, lost, neutral)] if row))


def _row(one: LabelledSolution, lost: Lost, neutral: Neutral | None) -> Row | None:
    values = targets(one.labels, neutral, lost)
    if not set(values) <= {0, 1, None}:
        lost["solutions with values between right and wrong, left out"] += 1
        return None
    question, steps = one.problem.question, one.solution.steps
    body = "\n".join(
        f"Step {s}: {step.strip()}" + (f" {MARK}" if value is not None else "")
        for s, (step, value) in enumerate(zip(steps, values, strict=True), 1)
    )
    marks = iter("+" if value else "-" for value in values if value is not None)
    row = Row(f"{question} {body}", "", one.extra.get("task", ""))
    row.label = re.sub(MARK, lambda _: next(marks, "?"), row.input)
    stripped = [step.strip() for step in steps]
    try:
        marked = [value is not None for value in values]
        readable = MARK not in question and _steps(row.input) == (question, stripped, marked)
    except ValueError:
        readable = False
    if not readable:
        lost["solutions whose text would be read otherwise (a mark or `Step n:` in it), left out"] += 1
        return None
    count_fields(one.extra, frozenset({"task"}), lost)
    if stripped != list(steps):
        lost["steps with white space around them, cut"] += sum(a != b for a, b in zip(stripped, steps, strict=True))
    if one.problem.gold:
        lost["gold answer, not carried"] += 1
    return row
