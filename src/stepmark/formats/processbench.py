"""ProcessBench (Zheng et al. 2024, arXiv 2412.06559): `{"id", "generator", "problem", "steps", "final_answer_correct",
"label"}`, where `label` counts the first wrong step from 0, and is -1 where no step is wrong.

Steps before the first wrong one are rated +1, it -1, and those after it not.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from stepmark.errors import InputError
from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, targets
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution

HELD = frozenset({"id", "generator", "final_answer_correct"})


class Row(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    generator: str
    problem: str
    steps: list[str]
    final_answer_correct: bool | None
    label: int


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """Raises InputError, naming file and line: a missing field, no steps, a label that is no step."""
    build = Builder("processbench", "human")
    for line, row in read_rows(path, Row, lost):
        if not -1 <= row.label < len(row.steps):
            problem = f"the label {row.label} of a solution with {len(row.steps)} steps"
            raise InputError(problem, path=path, line=line, remedy="it counts steps from 0; -1: none is wrong")
        steps = len(row.steps)
        ratings = [1] * steps if row.label < 0 else [1] * row.label + [-1] + [None] * (steps - row.label - 1)
        extra: dict[str, Any] = {
            "id": row.id,
            "generator": row.generator,
            "final_answer_correct": row.final_answer_correct,
        }
        yield build(row.problem, row.steps, ratings, extra=extra)


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """Whole solutions whose steps are rated, right or wrong, as far as the first wrong one; what else there is is left
    out and counted. Whether the final answer is correct is null where the file did not say."""
    put(path, (row for one in solutions for row in [_row(one, lost, neutral)] if row))


def first_error(values: tuple[float | None, ...]) -> int | None:
    """The index of the first wrong step; -1: all are right; None: unknown, since a step before it is neither."""
    for s, value in enumerate(values):
        if value != 1:
            return s if value == 0 else None
    return -1


def _row(one: LabelledSolution, lost: Lost, neutral: Neutral | None) -> Row | None:
    values = targets(one.labels, neutral, lost)
    error = first_error(values)
    if one.solution.finish != "stop":
        lost["solutions that are not whole, left out"] += 1
        return None
    if error is None:
        lost["solutions whose first wrong step is not known, left out"] += 1
        return None
    after = sum(value is not None for value in values[error + 1 :]) if error >= 0 else 0
    if after:
        lost["ratings after the first wrong step, not carried"] += after
    if one.problem.gold:
        lost["gold answer, not carried"] += 1
    count_fields(one.extra, HELD, lost)
    name = one.extra.get("id", f"{one.problem.id}-{one.solution.index}")
    correct = one.extra.get("final_answer_correct")
    generator = one.extra.get("generator", "unknown")
    return Row(name, generator, one.problem.question, list(one.solution.steps), correct, error)
