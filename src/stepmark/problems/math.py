"""MATH: competition problems with LaTeX answers and levels 1-5 (Hendrycks et al. 2021, Measuring Mathematical Problem
Solving, arXiv:2103.03874), as JSON lines: the 500 of Let's Verify Step by Step, or the original rows.

Not covered: the original release's folders with one JSON file per problem.
"""

import os
import re
from collections.abc import Iterator

import msgspec

from stepmark.errors import InputError
from stepmark.problems.files import collect, id_from
from stepmark.records import json_lines
from stepmark.types import Problem


class _Row(msgspec.Struct):
    problem: str
    solution: str | None = None
    answer: str | None = None
    final_answer: str | None = None
    level: int | str | None = None
    unique_id: str | None = None


def load(path: str | os.PathLike[str]) -> list[Problem]:
    r"""The problems of a JSON-lines file, plain or `.gz`, in the file's order.

    The gold is the field `answer` (or `final_answer`), else the last `\boxed{}` of `solution`. The level is an integer
    or `Level 3`, the id is `unique_id`; a row without one gets an id that follows from its question. Raises
    `InputError`, naming file and line, for a row that lacks `problem` or a gold, and a problem that occurs twice.
    """
    return collect(path, _problems(path))


def _problems(path: str | os.PathLike[str]) -> Iterator[tuple[int, Problem]]:
    for line, row in json_lines(path, _Row):
        gold = row.answer or row.final_answer or _last_box(row.solution or "")
        if gold is None:
            remedy = r"give `answer`, or a `solution` with its answer in \boxed{}, or remove the line"
            raise InputError("the problem has no gold answer", path=path, line=line, remedy=remedy)
        id = f"math-{row.unique_id}" if row.unique_id else id_from("math", row.problem)
        yield line, Problem(id, row.problem, gold, "math", _level(row.level))


def _last_box(solution: str) -> str | None:
    r"""What stands in the last `\boxed{}`: the data set's convention, unlike `grading.extract` blind to what surrounds
    the box (`\boxed{10}\%` has the gold 10)."""
    boxes = list(re.finditer(r"\\(?:boxed|fbox)\s*([{\w])", solution))
    if not boxes:
        return None
    start = boxes[-1].start(1)
    if solution[start] != "{":
        return solution[start]  # TeX's short form, as in \boxed 5
    depth = 0
    for token in re.finditer(r"\\.|[{}]", solution[start:], re.DOTALL):
        depth += (token[0] == "{") - (token[0] == "}")
        if depth == 0:
            return solution[start + 1 : start + token.start()].strip() or None
    return None


def _level(level: int | str | None) -> int | None:
    """The number; None for the original's `Level ?`."""
    if isinstance(level, str):
        digits = re.fullmatch(r"(?:Level )?(\d+)", level)
        return int(digits[1]) if digits else None
    return level
