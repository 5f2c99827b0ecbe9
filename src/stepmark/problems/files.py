"""Problems from files: the format of our own, and what all formats share."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from stepmark.errors import InputError
from stepmark.records import Run, json_lines
from stepmark.types import Problem


class _Row(msgspec.Struct):
    id: str
    question: str
    gold: str
    source: str | None = None
    level: int | None = None


def read(path: str | os.PathLike[str], *, gold: bool = True) -> list[Problem]:
    """Problems of your own: JSON lines, plain or `.gz`, each with the texts `id`, `question` and `gold`. With `gold`
    False it may be empty: the steps of a problem can be rated without a known answer.

    `source` is optional (the file's name without its endings), `level` is an optional integer, other fields are
    ignored. Raises `InputError`, naming file and line, for a field that is missing, empty or of another type, for an id
    that occurs twice, and for a file without problems.
    """
    source = Path(path).name.removesuffix(".gz").removesuffix(".jsonl")
    rows = json_lines(path, _Row)
    problems = ((n, Problem(r.id, r.question, r.gold, r.source or source, r.level)) for n, r in rows)
    return collect(path, problems, gold=gold)


def collect(
    path: str | os.PathLike[str], problems: Iterable[tuple[int, Problem]], *, gold: bool = True
) -> list[Problem]:
    """The problems of the lines of `path`: at least one, each with a question, a gold and an id of its own."""
    lines: dict[str, int] = {}
    found = []
    for line, problem in problems:
        for name in ("id", "question", "gold") if gold else ("id", "question"):
            if not getattr(problem, name).strip():
                raise InputError(
                    f"the problem's {name} is empty", path=path, line=line, remedy="fill it in, or remove the line"
                )
        first = lines.setdefault(problem.id, line)
        if first != line:
            remedy = "remove one of the two, or give it an id of its own"
            raise InputError(
                f"the problem of line {first} is here again ({problem.id})", path=path, line=line, remedy=remedy
            )
        found.append(problem)
    if not found:
        raise InputError("the file holds no problem", path=path, remedy="check the path")
    return found


def record(run: Run, chosen: Sequence[Problem]) -> None:
    """A run's own copy of its problems: whoever reads it needs nothing else. Raises InputError where a problem on
    record has another question or gold now: what is on record of it would be of another problem."""
    known = {one.id: one for one in run.read("problems", Problem)}
    for problem in chosen:
        was = known.get(problem.id, problem)
        if (was.question, was.gold) != (problem.question, problem.gold):
            raise InputError(
                f"problem {problem.id!r} is not the one that the run has records of",
                path=run.file("problems"),
                remedy="give the problems that the run was created with, or another directory",
            )
    for problem in chosen:
        if problem.id not in known:
            run.append("problems", problem)


def id_from(source: str, question: str) -> str:
    """An id for a question that has none: it depends on the words alone, not on the file or the place in it."""
    return f"{source}-{hashlib.sha256(' '.join(question.split()).encode()).hexdigest()[:12]}"
