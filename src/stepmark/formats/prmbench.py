"""PRMBench (Song et al. 2025, arXiv 2501.03124): right solutions into which an error of a named class was put.

`modified_process` has the steps, `error_steps` the numbers of the wrong ones, counted from 1; every other step is
right. Numbers past the last step (151 in the published files) are reported, and carried in `extra`.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from stepmark.errors import InputError
from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, targets
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution

PAST_END = "error_steps_past_the_end"


class Row(msgspec.Struct, forbid_unknown_fields=True):
    idx: str
    classification: str
    modified_question: str
    modified_process: list[str]
    error_steps: list[int]
    original_question: str | UnsetType = UNSET
    original_process: list[str] | UnsetType = UNSET
    modified_steps: list[int] | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    question: str | UnsetType = UNSET
    ground_truth: str | UnsetType = UNSET
    original_response: str | UnsetType = UNSET
    source_file: str | UnsetType = UNSET


CARRIED = (
    "idx",
    "classification",
    "original_question",
    "original_process",
    "modified_steps",
    "reason",
    "question",
    "ground_truth",
    "original_response",
    "source_file",
)


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """Raises InputError, naming file and line: a missing field, no steps, an error step below 1."""
    build = Builder("prmbench", "injected")
    for line, row in read_rows(path, Row, lost):
        steps = len(row.modified_process)
        if not steps or min(row.error_steps, default=1) < 1:
            problem = "there are no steps" if not steps else f"error step {min(row.error_steps)}"
            raise InputError(problem, path=path, line=line, remedy="steps are counted from 1")
        extra: dict[str, Any] = {n: value for n in CARRIED if (value := getattr(row, n)) is not UNSET}
        if past := [number for number in row.error_steps if number > steps]:
            lost["numbers of error steps past the last step, not used"] += len(past)
            extra[PAST_END] = past
        wrong = set(row.error_steps)
        ratings = [-1 if number in wrong else 1 for number in range(1, steps + 1)]
        gold = row.ground_truth or ""
        yield build(row.modified_question, row.modified_process, ratings, gold=gold, extra=extra)


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """Solutions of which every step is rated, right or wrong, and whose class is known; what else there is is left out
    and counted."""
    put(path, (row for one in solutions for row in [_row(one, lost, neutral)] if row))


def _row(one: LabelledSolution, lost: Lost, neutral: Neutral | None) -> Row | None:
    values = targets(one.labels, neutral, lost)
    if not set(values) <= {0, 1}:
        lost["solutions with steps that are neither right nor wrong, left out"] += 1
        return None
    if not {"idx", "classification"} <= one.extra.keys():
        lost["solutions without `idx` or `classification` of their error, left out"] += 1
        return None
    count_fields(one.extra, frozenset((*CARRIED, PAST_END)), lost)
    wrong = [number for number, value in enumerate(values, 1) if value == 0]
    return Row(
        modified_question=one.problem.question,
        modified_process=list(one.solution.steps),
        error_steps=wrong + one.extra.get(PAST_END, []),
        **{name: one.extra[name] for name in CARRIED if name in one.extra},
    )
