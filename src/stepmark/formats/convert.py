"""Files of one format to another, row by row: what is held in memory does not grow with the file (but for candidate
pools and the labels of records, which are joined)."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from stepmark.errors import InputError
from stepmark.formats import (
    candidates,
    labelled,
    math_shepherd,
    omegaprm,
    prm800k,
    prmbench,
    processbench,
    records,
    stepwise,
)
from stepmark.formats.labelled import Lost
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution

Format = Literal[
    "prm800k",
    "math_shepherd",
    "omegaprm_tree",
    "omegaprm_flat",
    "stepwise",
    "processbench",
    "prmbench",
    "candidates",
    "records",
    "labelled",
]
Reader = Callable[[Path, Lost], Iterator[LabelledSolution]]
Writer = Callable[[Path, Iterable[LabelledSolution], Lost, Neutral | None], None]
T = TypeVar("T")

FORMATS: dict[Format, tuple[Reader, Writer]] = {
    "prm800k": (prm800k.read, prm800k.write),
    "math_shepherd": (math_shepherd.read, math_shepherd.write),
    "omegaprm_tree": (omegaprm.read_tree, omegaprm.write_tree),
    "omegaprm_flat": (omegaprm.read_flat, omegaprm.write_flat),
    "stepwise": (stepwise.read, stepwise.write),
    "processbench": (processbench.read, processbench.write),
    "prmbench": (prmbench.read, prmbench.write),
    "candidates": (candidates.read, candidates.write),
    "records": (records.read, records.write),
    "labelled": (labelled.read, labelled.write),
}


@dataclass(frozen=True, slots=True)
class Converted:
    solutions: int
    """labelled solutions that were read"""
    ratings: int
    """of their steps"""
    lost: Lost
    """what the target does not hold, or was left out -> how often"""


def convert(
    source: Format,
    target: Format,
    path: Path,
    out: Path,
    *,
    neutral: Neutral | None = None,
    watch: Callable[[Iterator[LabelledSolution]], Iterator[LabelledSolution]] = iter,
    reader: Reader | None = None,
) -> Converted:
    """Reads `path` and writes `out`, which appears whole or not at all. `watch` passes the solutions on, for progress;
    `reader` reads in place of the format's own, with settings of its own.

    Raises InputError: a file that is broken, or neutral ratings for a target that has none, unless told how they count.
    """
    lost: Lost = Lost()
    read, write = reader or FORMATS[source][0], FORMATS[target][1]
    count = [0, 0]

    def counted() -> Iterator[LabelledSolution]:
        for one in watch(read(path, lost)):
            count[0] += 1
            count[1] += len(one.labels.ratings) - one.labels.ratings.count(None)
            yield one

    if not path.exists():
        raise InputError("does not exist", path=path, remedy="check the path")
    write(out, counted(), lost, neutral)
    return Converted(count[0], count[1], lost)
