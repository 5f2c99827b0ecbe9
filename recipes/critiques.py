"""Wrong solutions of Quantities problems, made by rule: what the bundled model's critiques are about.

Two ways of going wrong. `misread` changes one needed fact or one result and goes on consistently from there, as a
solver does who made one mistake; `corrupt` changes lines here and there, independently, so that every line has to be
compared with the problem and the lines before it.
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
    other = rng.choice([name for name in said.facts if name != fact.name])
    if not fact.operation:
        wrong = replace(fact, right=wrong_number(int(fact.right), rng))
    else:
        match rng.randrange(3):
            case 0 if isinstance(fact.right, int):
                wrong = replace(fact, right=wrong_number(fact.right, rng))
            case 1:
                wrong = replace(fact, operation=rng.choice([o for o in OPERATIONS if o != fact.operation]))
            case _:
                wrong = replace(fact, left=other)
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
