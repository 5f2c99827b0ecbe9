"""`stepmark grade`: answers against gold answers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import tyro

from stepmark.errors import InputError
from stepmark.grading.policy import Policy
from stepmark.types import Problem

if TYPE_CHECKING:
    from stepmark.grading import Graded


class _Pair(msgspec.Struct):
    gold: str | int | float
    answer: str | int | float | msgspec.UnsetType | None = msgspec.UNSET
    pred: str | int | float | msgspec.UnsetType | None = msgspec.UNSET
    question: str = ""


@dataclass(frozen=True)
class Pairs:
    r"""Grade pairs of answers: JSON lines with `gold` and `answer` (or `pred`), perhaps a `question`.

    Each field may be an answer or a whole solution; a marked answer (\boxed{}, ####, "the answer is") is taken from it.
    A null answer is no answer, and incorrect. One line per input, in order: verdict, reason, seconds and the grader's
    version.
    """

    file: tyro.conf.Positional[Path]
    """JSON lines, plain or .gz"""
    json: Path | None = None
    """write the verdicts to this file (by default to standard output)"""
    workers: int = 1
    """processes to spread over"""
    policy: Policy = field(default_factory=Policy)
    """what is accepted and demanded"""

    def run(self) -> int:
        from stepmark.grading import grade_all
        from stepmark.records import json_lines

        pairs = []
        for line, row in json_lines(self.file, _Pair):
            answer = row.pred if row.answer is msgspec.UNSET else row.answer
            if answer is msgspec.UNSET:
                raise InputError(
                    "a pair without `answer` or `pred`",
                    path=self.file,
                    line=line,
                    remedy="give one of them; null means no answer",
                )
            problem = Problem(str(line), row.question, str(row.gold), self.file.name)
            pairs.append((problem, None if answer is None else str(answer)))
        _check(self.json)
        graded = grade_all(pairs, self.policy, workers=self.workers, texts=True)
        _put(self.json, (_line(one) for one in graded))
        if self.json is not None:
            print(_summary(graded))
        return 0


@dataclass(frozen=True)
class Pool:
    """Grade every candidate of a candidate pool: a line each, with problem_id, candidate_index and the verdict."""

    file: tyro.conf.Positional[Path]
    """candidate pool: JSON lines, plain or .gz, one problem a line"""
    json: Path | None = None
    """write the verdicts to this file (by default only the summary is printed)"""
    workers: int = 1
    """processes to spread over"""
    policy: Policy = field(default_factory=Policy)
    """what is accepted and demanded"""

    def run(self) -> int:
        from stepmark.formats.candidates import read_candidates
        from stepmark.grading import grade_all

        pool = read_candidates(self.file)
        _check(self.json)
        rows = [(one.problem, index, candidate) for one in pool for index, candidate in enumerate(one.candidates)]
        graded = grade_all([(problem, c.answer) for problem, _, c in rows], self.policy, workers=self.workers)
        lines = [
            {"problem_id": problem.id, "candidate_index": index, **_line(one)}
            for (problem, index, _), one in zip(rows, graded, strict=True)
        ]
        if self.json is not None:
            _put(self.json, lines)
        print(_summary(graded))
        differing = [
            (problem.gold, candidate.answer, one)
            for (problem, _, candidate), one in zip(rows, graded, strict=True)
            if candidate.recorded is not None
            and one.verdict.value == ("incorrect" if candidate.recorded else "correct")
        ]
        print(f"{len(differing)} verdicts differ from the recorded is_correct")
        for gold, answer, one in differing[:20]:
            print(f"  gold {gold!r}, answer {answer!r}: {one.verdict.value}, {one.verdict.reason}")
        return 0


@dataclass(frozen=True)
class Grade:
    """Answers against gold answers."""

    what: Annotated[Pairs, tyro.conf.subcommand("pairs")] | Annotated[Pool, tyro.conf.subcommand("pool")]

    def run(self) -> int:
        return self.what.run()


def _line(one: Graded) -> dict[str, Any]:
    from stepmark.grading import VERSION

    verdict = {"verdict": one.verdict.value, "reason": one.verdict.reason}
    return {**verdict, "seconds": round(one.seconds, 6), "grader": VERSION}


def _summary(graded: Sequence[Graded]) -> str:
    counts = Counter(one.verdict.value for one in graded)
    total = " ".join(f"{counts[value]} {value}," for value in ("correct", "incorrect", "ungraded"))
    slowest = max((one.seconds for one in graded), default=0.0)
    return f"{len(graded)} answers: {total} slowest {slowest:.3f} s"


def _check(path: Path | None) -> None:
    if path is not None and not path.parent.is_dir():
        raise InputError("its folder does not exist", path=path, remedy="make the folder first")


def _put(path: Path | None, lines: Iterable[dict[str, Any]]) -> None:
    from stepmark.records import replacing

    encoded = [msgspec.json.encode(line) for line in lines]
    if path is None:
        for one in encoded:
            print(one.decode())
        return
    with replacing(path) as file:
        file.writelines(one + b"\n" for one in encoded)
