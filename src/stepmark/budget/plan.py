"""A plan: which strategy to take for a problem of which difficulty within which budget, as a file.

`stepmark plan` writes it from recorded searches, `stepmark search --strategy auto` follows it.
"""

import hashlib
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import msgspec

from stepmark.budget.difficulty import Bins, Measure
from stepmark.errors import InputError, RecordError
from stepmark.records import replacing

Unit = Literal["generations", "tokens", "flops"]
"""of a budget, as `stepmark.search.account` counts them: steps sampled at one depth, generated tokens, or FLOPs"""


@dataclass(frozen=True, slots=True)
class Arm:
    """A strategy with its settings, by their names; the models' sizes and the seed are the search's own."""

    strategy: str
    settings: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Expected:
    """What following the plan gave on the problems that it was made from, each chosen for without its own fold."""

    accuracy: float
    low: float
    high: float
    """95 % interval over problems"""
    cost: float
    """mean per problem, in the plan's unit"""


@dataclass(frozen=True, slots=True)
class Plan:
    """The choice for each bin of difficulty and each budget, and where it comes from."""

    measure: Measure
    samples: int
    """solutions on which the ease of a problem is measured"""
    probe: dict[str, Any]
    """the settings of `parallel` by which they are drawn"""
    counted: bool
    """whether what they cost is part of the budgets; solutions that serve as candidates too cost nothing more"""
    unit: Unit
    edges: tuple[float, ...]
    """of the bins, rising ease"""
    budgets: tuple[float, ...]
    """rising, per problem"""
    arms: tuple[Arm, ...]
    choices: tuple[tuple[int, ...], ...]
    """the index of the arm, by bin, the easiest first, and budget"""
    expected: tuple[Expected, ...]
    """by budget"""
    policy: dict[str, Any]
    reward: dict[str, Any] | None
    """the models that the runs were made with"""
    runs: dict[str, str]
    """the digests of the searches that the plan was made from, by the runs' directories"""
    problems: int
    """in each of them"""

    def __str__(self) -> str:
        """A short name that hangs on all of it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:8]

    def arm(self, ease: float, budget: float) -> Arm:
        """What to do with a problem of this ease, by the largest budget of the plan that is within the given one.
        Raises InputError where none is."""
        within = [k for k, one in enumerate(self.budgets) if one <= budget]
        if not within:
            raise InputError(
                f"the plan has no budget within {budget:g} {self.unit}", remedy=f"its smallest is {self.budgets[0]:g}"
            )
        return self.arms[self.choices[Bins(self.edges).of(ease)][within[-1]]]


def write_plan(path: str | PathLike[str], plan: Plan) -> None:
    """The file is whole or not there."""
    with replacing(Path(path)) as file:
        file.write(msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n")


def read_plan(path: str | PathLike[str]) -> Plan:
    """Raises RecordError for a file that is no plan, or whose choices do not fit its bins, budgets and arms."""
    path = Path(path)
    try:
        plan = msgspec.json.decode(path.read_bytes(), type=Plan)
    except OSError as error:
        raise RecordError(
            f"cannot be read: {error.strerror}", path=path, remedy="give a file of stepmark plan"
        ) from error
    except msgspec.DecodeError as error:
        raise RecordError(f"is no plan: {error}", path=path, remedy="write it with stepmark plan") from None
    sound = len(plan.choices) == len(plan.edges) + 1 and all(
        len(row) == len(plan.budgets) > 0 and all(0 <= arm < len(plan.arms) for arm in row) for row in plan.choices
    )
    if not sound or list(plan.budgets) != sorted(plan.budgets) or list(plan.edges) != sorted(plan.edges):
        raise RecordError(
            "its choices do not fit its bins, budgets and arms", path=path, remedy="write it with stepmark plan"
        )
    return plan
