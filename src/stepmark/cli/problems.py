"""`stepmark problems`: a file of problems, generated or read from a data set's own file."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepmark.types import Problem


@dataclass(frozen=True)
class Quantities:
    """Generated word problems of known difficulty, whose every step the oracle can rate."""

    out: Path
    """the file to write, JSON lines (.gz: compressed)"""
    n: int = 200
    """how many"""
    split: Literal["train", "validation", "test", "ood"] = "test"
    """ood: longer chains, and names and phrasings that the other splits do not have"""
    levels: tuple[int, ...] = ()
    """operations, taking turns (by default 1 to 6; 7 to 10 for ood)"""
    seed: int = 0

    def run(self) -> int:
        from stepmark.errors import InputError
        from stepmark.problems import quantities

        if self.n < 1:
            raise InputError(f"--n {self.n}", remedy="ask for at least one problem")
        return _write(self.out, list(quantities.generate(self.split, self.n, seed=self.seed, levels=self.levels)))


@dataclass(frozen=True)
class DataSet:
    """Problems from the file that the data set is published as."""

    which: tyro.conf.Positional[Literal["gsm8k", "math"]]
    file: tyro.conf.Positional[Path]
    """its train or test file, JSON lines, plain or .gz"""
    out: Path
    """the file to write, JSON lines (.gz: compressed)"""

    def run(self) -> int:
        from stepmark.problems import gsm8k, math

        return _write(self.out, {"gsm8k": gsm8k.load, "math": math.load}[self.which](self.file))


@dataclass(frozen=True)
class Problems:
    """Writes a file of problems, as the other verbs read it: lines with id, question and gold.

    stepmark problems quantities --n 100 --out p.jsonl

    stepmark problems read gsm8k test.jsonl --out gsm8k.jsonl
    """

    what: Annotated[Quantities, tyro.conf.subcommand("quantities")] | Annotated[DataSet, tyro.conf.subcommand("read")]

    def run(self) -> int:
        return self.what.run()


def _write(path: Path, problems: "Sequence[Problem]") -> int:
    from stepmark.records import write

    write(path, problems)
    print(f"{path}: {len(problems):,} problems")
    return 0
