"""GSM8K: grade-school word problems with whole-number answers (Cobbe et al. 2021, Training Verifiers to Solve Math
Word Problems, arXiv:2110.14168), as published in `grade_school_math/data`."""

import os
import re
from collections.abc import Iterator

import msgspec

from stepmark.errors import InputError
from stepmark.problems.files import collect, id_from
from stepmark.records import json_lines
from stepmark.types import Problem

_GOLD = re.compile(r"^#### *(-?(?:\d+|\d{1,3}(?:,\d{3})+)(?:\.\d+)?)\s*\Z", re.MULTILINE)


class _Row(msgspec.Struct):
    question: str
    answer: str


def load(path: str | os.PathLike[str]) -> list[Problem]:
    """The problems of `train.jsonl` or `test.jsonl`, plain or `.gz`, in the file's order.

    The gold is the number after `####` in the last line of the worked answer, without separators of thousands. There
    are no ids in the file: a problem's id follows from its question. Raises `InputError`, naming file and line, for a
    row that lacks `question` or `answer`, an answer without such a last line, and a question that occurs twice.
    """
    return collect(path, _problems(path))


def _problems(path: str | os.PathLike[str]) -> Iterator[tuple[int, Problem]]:
    for line, row in json_lines(path, _Row):
        gold = _GOLD.search(row.answer)
        if gold is None:
            remedy = "the answer must end in a line such as `#### 1,080`"
            raise InputError("the problem has no gold answer", path=path, line=line, remedy=remedy)
        yield line, Problem(id_from("gsm8k", row.question), row.question, gold[1].replace(",", ""), "gsm8k")
