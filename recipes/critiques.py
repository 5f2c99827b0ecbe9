"""Wrong solutions of Quantities problems, made by rule: what the bundled model learns to write, and to criticise.

`fallible` is the author of its training solutions, who errs as people do: often in the same place and in the same way,
now and then anywhere, and who goes on consistently. Critiques are of two other ways of going wrong. `misread` changes
one needed fact or one result and goes on consistently from there, as a solver does who made one mistake; `corrupt`
changes lines here and there, independently, so that every line has to be compared with the problem and the lines before
it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

from stepmark.problems import quantities
from stepmark.problems.quantities import Fact, Situation
from stepmark.types import Problem

OPERATIONS: tuple[Literal["+", "-", "*", "/"], ...] = ("+", "-", "*", "/")
THIRD = 0.7
"""how often the fallible author takes "a third" for "three fewer": more often than not, so the majority errs too"""
TIMES = 0.4
"""how often it takes "times" for "plus": less often than not"""
CARELESS = 0.03
"""how often it errs otherwise, for each fact and each calculation: another number, name or operation"""


def fallible(problem: Problem, rng: random.Random) -> tuple[str, ...]:
    """A solution by an author who misreads facts and slips in calculations, each independently. An author who comes to
    an amount below 0 or to half a thing notices, and begins again."""
    said = quantities.situation(problem.question)
    while True:
        facts = {**said.facts, **{name: _taken(said, said.facts[name], rng) for name in said.order}}
        try:
            steps = _written(Situation(facts, said.asked), rng)
        except RecursionError:  # a misreading made a quantity depend on itself
            continue
        if steps is not None:
            return steps


def _taken(said: Situation, fact: Fact, rng: random.Random) -> Fact:
    """A fact as the fallible author takes it."""
    if fact.operation == "/" and fact.right == 3 and rng.random() < THIRD:
        return replace(fact, operation="-")
    if fact.operation == "*" and rng.random() < TIMES:
        return replace(fact, operation="+")
    return _misread(said, fact, rng) if rng.random() < CARELESS else fact


def _misread(said: Situation, fact: Fact, rng: random.Random) -> Fact:
    """A fact with another number, name or operation."""
    if not fact.operation:
        return replace(fact, right=wrong_number(int(fact.right), rng))
    match rng.randrange(3):
        case 0 if isinstance(fact.right, int):
            return replace(fact, right=wrong_number(fact.right, rng))
        case 1:
            return replace(fact, operation=rng.choice([o for o in OPERATIONS if o != fact.operation]))
        case _:
            return replace(fact, left=rng.choice([name for name in said.facts if name != fact.name]))


def _written(taken: Situation, rng: random.Random) -> tuple[str, ...] | None:
    """The solution of what was taken, each result wrong at the rate `CARELESS`; None where an amount cannot be."""
    values: dict[str, int] = {}
    for name in taken.order:
        fact = taken.facts[name]
        right = values[fact.right] if isinstance(fact.right, str) else fact.right
        if not fact.operation:
            values[name] = right
            continue
        result = quantities.apply(fact.operation, values[fact.left], right)
        if result < 0:
            return None
        values[name] = wrong_number(result, rng) if rng.random() < CARELESS else result
    return quantities.steps_of(taken, values)


def wrong_number(number: int, rng: random.Random) -> int:
    """A number near `number`, or one that shares a digit with it; never the same, never negative."""
    while True:
        match rng.randrange(4):
            case 0:
                other = number + rng.choice((-2, -1, 1, 2))
            case 1:
                other = number + rng.choice((-20, -10, 10, 20))
            case 2:
                digits = list(str(number))
                digits[rng.randrange(len(digits))] = str(rng.randrange(10))
                other = int("".join(digits))
            case _:
                other = rng.randint(1, quantities.LARGEST)
        if other != number and other >= 0:
            return other


def misread(problem: Problem, rng: random.Random) -> tuple[str, ...]:
    """The solution of somebody who misreads one needed fact, or slips in one calculation, and goes on from there."""
    said = quantities.situation(problem.question)
    fact = said.facts[rng.choice(said.order)]
    if fact.operation and rng.random() < 0.5:
        return _slip(said, fact, rng)
    wrong = _misread(said, fact, rng)
    changed = Situation({**said.facts, fact.name: wrong}, said.asked)
    try:
        return quantities.steps_of(changed)
    except RecursionError:  # the misreading made a quantity depend on itself
        return misread(problem, rng)


def _slip(said: Situation, fact: Fact, rng: random.Random) -> tuple[str, ...]:
    """The solution with one wrong result, and what follows from it."""
    right = said.values[fact.name]
    wrong = wrong_number(right, rng)
    steps = list(quantities.steps_of(said))
    at = next(i for i, step in enumerate(steps) if step.startswith(f"{fact.name} = ") and step.endswith(f"= {right}"))
    given = Situation({**said.facts, fact.name: Fact(fact.name, "", "", wrong)}, said.asked)
    later = {step.split(" = ")[0]: step for step in quantities.steps_of(given) if step.count(" = ") == 2}
    steps[at] = re.sub(r"\d+$", str(wrong), steps[at])
    for i in range(at + 1, len(steps) - 1):
        steps[i] = later.get(steps[i].split(" = ")[0], steps[i])
    steps[-1] = f"Answer: {given.values[said.asked]}"
    return tuple(steps)


def corrupt(problem: Problem, rng: random.Random, rate: float = 0.25) -> tuple[str, ...]:
    """The reference solution, each line changed at `rate`: a number, a name, an operation, or another line instead."""
    said = quantities.situation(problem.question)
    steps = list(quantities.solve(problem))
    strays = [fact.line for fact in said.facts.values() if fact.name not in said.order]
    return tuple(_change(i, steps, strays, said, rng) if rng.random() < rate else step for i, step in enumerate(steps))


def _change(at: int, steps: Sequence[str], strays: Sequence[str], said: Situation, rng: random.Random) -> str:
    step = steps[at]
    kind = rng.choices(("number", "name", "operation", "other", "stray"), (8, 3, 2, 2, 2 if strays else 0))[0]
    if kind == "stray":
        return rng.choice(strays)
    if kind == "other":
        return rng.choice(steps)
    pattern = {"number": r"\d+", "name": "|".join(quantities.NAMES), "operation": r"(?<= )[-+*/](?= )"}[kind]
    places = list(re.finditer(pattern, step))
    if not places:
        return _change(at, steps, strays, said, rng)
    place = rng.choice(places)
    match kind:
        case "number":
            new = str(wrong_number(int(place[0]), rng))
        case "name":
            new = rng.choice([name for name in said.facts if name != place[0]])
        case _:
            new = rng.choice([o for o in OPERATIONS if o != place[0]])
    return step[: place.start()] + new + step[place.end() :]
