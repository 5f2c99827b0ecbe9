"""Stepwise supervision, as TRL and many sets on the Hub have it: `{"prompt", "completions": [steps], "labels": [...]}`.

Labels are booleans, or 0 and 1 (right or wrong: source `hard`), or numbers in [0, 1] with a fraction among them
(`soft`); they stay what they are, and a value is never cut to a boolean. Other fields are left out and counted.

Every completion has a label, so a solution with unrated steps becomes a row for each run of rated ones, whose prompt
has the steps before; unrated steps at the end are left out, and counted.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from stepmark.errors import InputError
from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, targets
from stepmark.rewards.assemble import VALUES
from stepmark.rewards.examples import Neutral
from stepmark.steps import join
from stepmark.types import LabelledSolution


class Row(msgspec.Struct, forbid_unknown_fields=True):
    prompt: str
    completions: list[str]
    labels: list[bool | int | float]


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """Raises InputError, naming file and line: a missing field, another number of labels than of completions, booleans
    among numbers, a number outside [0, 1]."""
    build = Builder("stepwise", "hard")
    for line, row in read_rows(path, Row, lost):
        if len(row.labels) != len(row.completions):
            count = f"{len(row.completions)} completions and {len(row.labels)} labels"
            raise InputError(count, path=path, line=line, remedy="give one label per completion")
        kinds = {type(label) for label in row.labels}
        if bool in kinds and len(kinds) > 1:
            raise InputError("booleans among the numbers of labels", path=path, line=line, remedy="give one kind")
        for label in row.labels:
            if not 0 <= label <= 1:
                remedy = "labels are true or false, or values in [0, 1]; ratings of -1 are another format"
                raise InputError(f"the label {label}", path=path, line=line, remedy=remedy)
        rated_by = "soft" if float in kinds else "hard"
        ratings = [float(label) for label in row.labels]
        yield build(row.prompt, row.completions, ratings, rated_by=rated_by, extra={})


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """Booleans where all values are 0 or 1 by the kind of the labels, else numbers."""
    put(path, (row for one in solutions for row in _runs(one, lost, neutral)))


def _runs(one: LabelledSolution, lost: Lost, neutral: Neutral | None) -> Iterator[Row]:
    """A row for each run of rated steps."""
    count_fields(one.extra, frozenset(), lost)
    if one.problem.gold:
        lost["gold answer, not carried"] += 1
    values = targets(one.labels, neutral, lost)
    kind = float if one.labels.source in VALUES and one.labels.source.endswith("soft") else bool
    steps, start = one.solution.steps, 0
    for s, value in enumerate((*values, None)):
        if value is None:
            if start < s:
                before = f"{one.problem.question}\n{join(steps[:start])}" if start else one.problem.question
                yield Row(before, list(steps[start:s]), [kind(v) for v in values[start:s] if v is not None])
            start = s + 1
    unrated = next((n for n, value in enumerate(reversed(values)) if value is not None), None)
    if unrated is None:
        lost["solutions without a rated step, left out"] += 1
    elif unrated:
        lost["unrated steps at the end, left out"] += unrated
