"""Labelled solutions as one file of our own, the form that loses nothing, and what all formats of labels share.

A line is the JSON of a `LabelledSolution`. Every format reads into that noun and writes from it. What a format cannot
hold is never dropped in silence: readers and writers count it in a `Lost`, under words that say what it was.
"""

import re
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from stepmark.errors import InputError
from stepmark.problems.files import id_from
from stepmark.records import json_lines, replacing
from stepmark.rewards.assemble import HARD, SIGNED, from_labels
from stepmark.rewards.examples import Neutral
from stepmark.types import Finish, LabelledSolution, Problem, Solution, StepLabels

Lost = Counter[str]
"""What was left out or changed on the way -> how often."""

BLOCK = 64
"""rows encoded and written at once"""
UNRATED = "nobody"
"""the source of labels that are all None"""
UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*?)`(?: - at `(?P<place>.*)`)?\Z", re.DOTALL)
"""what msgspec says of a field that a struct does not have"""

T = TypeVar("T")
encode_lines = msgspec.json.Encoder().encode_lines


class Builder:
    """Makes labelled solutions of a file's rows: a problem's id follows from its question, and its solutions are
    numbered in the order in which they come."""

    def __init__(self, source: str, rated_by: str) -> None:
        """`source`: of the problems; `rated_by`: the source of the labels, as in `StepLabels`."""
        self._source = source
        self._rated_by = rated_by
        self._next: Counter[str] = Counter()
        self._problem: Problem | None = None

    def __call__(
        self,
        question: str,
        steps: Sequence[str],
        ratings: Sequence[float | None],
        *,
        gold: str = "",
        answer: str | None = None,
        finish: Finish = "stop",
        rated_by: str | None = None,
        extra: dict[str, Any],
    ) -> LabelledSolution:
        problem = self._problem  # rows about one question come together
        if problem is None or problem.question != question or problem.gold != gold:
            problem = self._problem = Problem(id_from(self._source, question), question, gold, self._source)
        index = self._next[problem.id]
        self._next[problem.id] = index + 1
        return LabelledSolution(
            problem,
            Solution(problem.id, index, tuple(steps), answer, finish),
            StepLabels(problem.id, index, tuple(ratings), rated_by or self._rated_by),
            extra,
        )


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """The labelled solutions of a file of our own. Raises InputError, naming file, line and field."""
    for line, one in json_lines(path, LabelledSolution):
        if len(one.labels.ratings) != len(one.solution.steps):
            count = f"{len(one.solution.steps)} steps and {len(one.labels.ratings)} ratings"
            raise InputError(count, path=path, line=line, remedy="give one rating per step, null where there is none")
        yield one


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """All that a labelled solution has."""
    put(path, solutions)


def put(path: Path, rows: Iterable[object]) -> None:
    """`records.write` for rows that were read from JSON, or plain and made here: they are not decoded again to see that
    they are the same, which takes most of the time."""
    squeeze = zlib.compressobj(wbits=31) if path.suffix == ".gz" else None
    with replacing(path) as file:
        for block in blocks(rows):
            lines = encode_lines(block)
            file.write(squeeze.compress(lines) if squeeze else lines)
        if squeeze:
            file.write(squeeze.flush())


def blocks(rows: Iterable[T]) -> Iterator[list[T]]:
    """The rows, as many at a time as are encoded and written at once."""
    left = iter(rows)
    while block := list(islice(left, BLOCK)):
        yield block


def read_rows(path: Path, type: type[T], lost: Lost) -> Iterator[tuple[int, T]]:
    """`records.json_lines` of a struct that forbids unknown fields: they are left out, and counted by their place."""
    strict = msgspec.json.Decoder(type).decode

    def decode(line: bytes) -> T:
        try:
            return strict(line)
        except msgspec.ValidationError as error:
            if not UNKNOWN.match(str(error)):
                raise
        value = msgspec.json.decode(line)
        while True:
            try:
                return msgspec.convert(value, type)
            except msgspec.ValidationError as error:
                found = UNKNOWN.match(str(error))
                if found is None:
                    raise
                holder = value
                for name, item in re.findall(r"\.(\w+)|\[(\d+)\]", found["place"] or ""):
                    holder = holder[name or int(item)]
                del holder[found["name"]]
                place = re.sub(r"\[\d+\]", "[]", (found["place"] or "$").removeprefix("$") + f".{found['name']}")
                lost[f"field {place[1:]}, which the format does not know, left out"] += 1

    return json_lines(path, type, decode)


def targets(labels: StepLabels, neutral: Neutral | None, lost: Lost) -> tuple[float | None, ...]:
    """The ratings as values in [0, 1], for a format that knows no neutral step. Raises InputError where there is one
    and nobody said how it counts, and where the source of the labels is unknown."""
    if labels.ratings.count(None) == len(labels.ratings):
        return labels.ratings
    count = labels.ratings.count(0) if labels.source in SIGNED else 0
    if count and neutral is None:
        raise InputError(
            f"solution {labels.index} of problem {labels.problem_id!r} has neutral steps, and the format knows none",
            remedy="say how they count: --neutral right (as in Let's Verify), wrong or unrated",
        )
    if count:
        lost[f"neutral ratings, written as {neutral}"] += count
    return from_labels(labels, neutral=neutral or "right")


def signed(labels: StepLabels) -> tuple[int | None, ...] | None:
    """The ratings as +1, 0 and -1. None: they are values between right and wrong, which those cannot say."""
    if labels.source in SIGNED:
        return tuple(None if rating is None else int(rating) for rating in labels.ratings)
    if labels.source in HARD or set(labels.ratings) <= {0, 1, None}:
        return tuple(None if rating is None else (1 if rating else -1) for rating in labels.ratings)
    return None


def count_fields(extra: dict[str, Any], held: frozenset[str], lost: Lost) -> None:
    """Counts the fields that a target does not hold."""
    for name in extra:
        if name not in held:
            lost[_not_carried(name)] += 1


@cache
def _not_carried(name: str) -> str:
    return f"field {name}, not carried"
