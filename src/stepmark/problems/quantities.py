"""Quantities: generated word problems whose every step can be judged exactly.

People hold things; each amount is given or defined from others, in shuffled sentences with distractors, and one amount
is asked for. A solution first states the relations, from the question backwards, then computes the values forwards, so
that a line is one look-up or one operation:

    Cat has Lee's coins minus 3. Bo has 5 coins. Lee owns twice Ida's coins. Ida holds 12 coins.
    How many coins does Cat have?

    Cat : Lee - 3
    Lee : Ida * 2
    Ida = 12
    Lee = 12 * 2 = 24
    Cat = 24 - 3 = 21
    Answer: 21

The level is the number of operations that the answer needs. Train, validation, test and out-of-distribution (`ood`)
problems are disjoint by construction: a hash of what the facts say, whatever the phrasing, order and thing, decides to
which split a problem may belong. `ood` has phrasings that no other split uses and, by default, longer chains.
"""

import hashlib
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from stepmark.errors import InputError
from stepmark.types import Problem

Split = Literal["train", "validation", "test", "ood"]
LEVELS = (1, 2, 3, 4, 5, 6)
OOD_LEVELS = (7, 8, 9, 10)
HIGHEST_LEVEL = 10
LARGEST = 99
"""every amount lies in 1 .. LARGEST"""

# fmt: off
NAMES = (
    "Ana", "Ben", "Cat", "Dan", "Eva", "Fay", "Gus", "Hal", "Ida", "Jon", "Kim", "Lee", "Max", "Nia",
    "Oli", "Pam", "Quin", "Ray", "Sue", "Tom", "Uma", "Vic", "Wes", "Yan", "Zoe", "Abe", "Bea", "Cal",
)
# fmt: on
THINGS = ("apples", "books", "cards", "coins", "keys", "marbles", "pens", "shells", "stamps", "stones")

# A phrasing's slots: {A} the defined quantity, {B} {C} those it is defined from, {k} a number or a factor's word, {t}
# the thing. Out of distribution, known words stand in sentences of another build.
_FACTORS = {"twice": ("*", 2), "half": ("/", 2), "a third": ("/", 3)}
_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "given": ("{A} has {k} {t}.", "{A} owns {k} {t}.", "{A} holds {k} {t}."),
    "+": ("{A} has {B}'s {t} plus {k}.", "{A} owns {B}'s {t} and {k} more.", "{A} holds {B}'s {t} with {k} more."),
    "-": ("{A} has {B}'s {t} minus {k}.", "{A} owns {B}'s {t} but {k} fewer.", "{A} holds {B}'s {t} less {k}."),
    "*": ("{A} has {B}'s {t} times {k}.", "{A} owns {B}'s {t} {k} times over."),
    "together": ("{A} has {B}'s {t} plus {C}'s.", "{A} owns {B}'s and {C}'s {t}."),
    "factor": ("{A} has {k} {B}'s {t}.", "{A} owns {k} of {B}'s {t}."),
}
_OOD_PHRASINGS: Mapping[str, tuple[str, ...]] = {
    "given": ("{A} has how many {t}: {k}.",),
    "+": ("{A} has {k} {t} more and {B}'s {t}.",),
    "-": ("{A} has {k} {t} fewer with {B}'s {t}.",),
    "*": ("{A} has {k} times {B}'s {t}.",),
    "together": ("{A} has {B}'s {t} with {C}'s {t}.",),
    "factor": ("{A} holds {k} {t} of {B}'s {t}.",),
}
_QUESTIONS = ("How many {t} does {A} have?", "Find how many {t} {A} has.")
_OOD_QUESTIONS = ("{A} has how many {t}?",)

_RESIDUES: Mapping[Split, frozenset[int]] = {
    "test": frozenset({0}),
    "validation": frozenset({1}),
    "ood": frozenset({2}),
    "train": frozenset(range(3, 20)),
}


@dataclass(frozen=True, slots=True)
class Fact:
    """The definition of one quantity: a given number (`operation` ""), or `left operation right`, where `left` is a
    quantity and `right` a quantity (sums) or a number."""

    name: str
    operation: Literal["", "+", "-", "*", "/"]
    left: str
    right: str | int

    @property
    def sources(self) -> tuple[str, ...]:
        """The quantities that this one is defined from."""
        return tuple(operand for operand in (self.left, self.right) if isinstance(operand, str) and operand)

    @property
    def line(self) -> str:
        """The step that states this fact."""
        return (
            f"{self.name} : {self.left} {self.operation} {self.right}"
            if self.operation
            else f"{self.name} = {self.right}"
        )


@dataclass(frozen=True, slots=True)
class Situation:
    """What the text of a problem says."""

    facts: Mapping[str, Fact]
    asked: str

    @property
    def order(self) -> tuple[str, ...]:
        """The quantities that the asked one needs, itself last, each after those it is defined from."""
        order: dict[str, None] = {}

        def visit(name: str) -> None:
            if name not in order:
                for source in self.facts[name].sources:
                    visit(source)
                order[name] = None

        visit(self.asked)
        return tuple(order)

    @property
    def values(self) -> Mapping[str, int]:
        """The amount of every quantity, distractors too."""
        values: dict[str, int] = {}

        def visit(name: str) -> int:
            if name not in values:
                fact = self.facts[name]
                right = visit(fact.right) if isinstance(fact.right, str) else fact.right
                values[name] = apply(fact.operation, visit(fact.left), right) if fact.operation else right
            return values[name]

        for name in self.facts:
            visit(name)
        return values


def apply(operation: str, left: int, right: int) -> int:
    """The result of one operation. A division that leaves a remainder, or by zero, has no result here: -1."""
    match operation:
        case "+":
            return left + right
        case "-":
            return left - right
        case "*":
            return left * right
        case "/" if right and left % right == 0:
            return left // right
        case _:
            return -1


def generate(
    split: Split, count: int, *, seed: int = 0, levels: Sequence[int] | None = None, start: int = 0
) -> Iterator[Problem]:
    """`count` problems of a split, the levels taking turns. Problem i depends on split, seed, i and levels alone."""
    levels = levels or (OOD_LEVELS if split == "ood" else LEVELS)
    for index in range(start, start + count):
        yield problem(split, seed, index, levels[index % len(levels)])


def problem(split: Split, seed: int, index: int, level: int) -> Problem:
    """One problem. Situations are drawn until one belongs to the split."""
    if split not in _RESIDUES or level < 1 or level > HIGHEST_LEVEL:
        raise InputError(
            f"no Quantities problem of split {split!r} and level {level}",
            remedy=f"splits are {', '.join(_RESIDUES)}; levels are 1 to {HIGHEST_LEVEL}",
        )
    rng = random.Random(f"quantities/{split}/{seed}/{index}/{level}")
    while True:
        situation = _draw(rng, level)
        if situation is not None and _residue(situation) in _RESIDUES[split]:
            break
    return Problem(
        id=f"quantities/{split}/{seed}/{index}",
        question=_phrase(rng, situation, ood=split == "ood"),
        gold=str(situation.values[situation.asked]),
        source="quantities",
        level=level,
    )


def _draw(rng: random.Random, level: int) -> Situation | None:
    """A situation whose answer needs `level` operations, or None where the amounts left their range."""
    names = list(NAMES)
    rng.shuffle(names)
    values: dict[str, int] = {}
    facts: list[Fact] = []

    def add(operation: Literal["", "+", "-", "*", "/"], left: str, right: str | int) -> str:
        name = names.pop()
        facts.append(Fact(name, operation, left, right))
        number = values[right] if isinstance(right, str) else right
        values[name] = apply(operation, values[left], number) if operation else number
        return name

    def given() -> str:
        return add("", "", rng.randint(2, 30))

    def derived(left: str) -> str:
        kind = rng.choices(("+", "-", "*", "/", "together"), (3, 3, 2, 2, 2))[0]
        if kind == "together":
            others = [name for name in values if name != left]
            return add("+", left, rng.choice(others) if others and rng.random() < 0.4 else given())
        if kind == "/":
            right = next((k for k in rng.sample((2, 3), 2) if values[left] % k == 0), 2)
            return add("/", left, right)
        if kind == "*":
            return add("*", left, rng.randint(2, 5))
        return add("+" if kind == "+" else "-", left, rng.randint(2, 30))

    head = given()
    for _ in range(level):
        head = derived(head)
        if not 1 <= values[head] <= LARGEST:
            return None
    for _ in range(rng.randint(0, 3)):
        distractor = given() if rng.random() < 0.3 else derived(rng.choice(list(values)))
        if not 1 <= values[distractor] <= LARGEST:
            return None
    return Situation({fact.name: fact for fact in facts}, head)


def _residue(situation: Situation) -> int:
    """Which residue class a situation falls in, from what it says alone."""
    text = "; ".join(sorted(fact.line for fact in situation.facts.values())) + f"? {situation.asked}"
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) % 20


def _phrase(rng: random.Random, situation: Situation, *, ood: bool) -> str:
    phrasings, questions = (_OOD_PHRASINGS, _OOD_QUESTIONS) if ood else (_PHRASINGS, _QUESTIONS)
    thing = rng.choice(THINGS)
    sentences = []
    for fact in situation.facts.values():
        kind: str = "given" if not fact.operation else "together" if isinstance(fact.right, str) else fact.operation
        number: str | int = fact.right
        word = next((w for w, meaning in _FACTORS.items() if meaning == (fact.operation, fact.right)), None)
        if word and (fact.operation == "/" or rng.random() < 0.5):
            kind, number = "factor", word
        template = rng.choice(phrasings[kind])
        sentences.append(template.format(A=fact.name, B=fact.left, C=fact.right, k=number, t=thing))
    rng.shuffle(sentences)
    return " ".join([*sentences, rng.choice(questions).format(A=situation.asked, t=thing)])


def _pattern(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace(r"\{", "{").replace(r"\}", "}").replace(r"\ ", " ")
    seen: set[str] = set()
    name = "[A-Z][a-z]+"
    number = "|".join((r"\d+", *_FACTORS))
    for slot, form in {"A": name, "B": name, "C": name, "k": number, "t": "[a-z]+"}.items():
        while "{" + slot + "}" in pattern:
            pattern = pattern.replace("{" + slot + "}", f"(?P={slot})" if slot in seen else f"(?P<{slot}>{form})", 1)
            seen.add(slot)
    return re.compile(pattern)


_FACT_PATTERNS = tuple(
    (kind, _pattern(template))
    for phrasings in (_PHRASINGS, _OOD_PHRASINGS)
    for kind, templates in phrasings.items()
    for template in templates
)
_QUESTION_PATTERNS = tuple(_pattern(template) for template in _QUESTIONS + _OOD_QUESTIONS)


@lru_cache(maxsize=4096)
def situation(question: str) -> Situation:
    """What a question says: the inverse of the phrasing. InputError where a sentence is none of ours."""
    *sentences, asked = re.findall(r"[^.?]+[.?]", question)
    facts: dict[str, Fact] = {}
    for sentence in (s.strip() for s in sentences):
        fact = next((f for kind, pattern in _FACT_PATTERNS if (f := _read(kind, pattern.fullmatch(sentence)))), None)
        if fact is None:
            raise InputError(f"not a sentence of Quantities: {sentence!r}")
        facts[fact.name] = fact
    match = next((m for pattern in _QUESTION_PATTERNS if (m := pattern.fullmatch(asked.strip()))), None)
    if match is None:
        raise InputError(f"not a question of Quantities: {asked.strip()!r}")
    undefined = {s for fact in facts.values() for s in fact.sources if s not in facts} | ({match["A"]} - facts.keys())
    if undefined:
        raise InputError(f"undefined in the problem: {', '.join(sorted(undefined))}")
    return Situation(facts, match["A"])


def _read(kind: str, match: re.Match[str] | None) -> Fact | None:
    if match is None:
        return None
    if kind == "together":
        return Fact(match["A"], "+", match["B"], match["C"])
    if kind == "factor" and match["k"] in _FACTORS:
        operation, number = _FACTORS[match["k"]]
        return Fact(match["A"], "*" if operation == "*" else "/", match["B"], number)
    if kind == "factor" or not match["k"].isdigit():
        return None
    if kind == "given":
        return Fact(match["A"], "", "", int(match["k"]))
    return Fact(match["A"], "+" if kind == "+" else "-" if kind == "-" else "*", match["B"], int(match["k"]))


def solve(problem: Problem) -> tuple[str, ...]:
    """The steps of the reference solution: relations backwards from the question, values forwards, the answer."""
    return steps_of(situation(problem.question))


def steps_of(said: Situation, values: Mapping[str, int] | None = None) -> tuple[str, ...]:
    """The steps that solve what `said` says, with its values, or with those that somebody found instead."""
    values, order = said.values if values is None else values, said.order
    steps = [said.facts[name].line for name in reversed(order)]
    steps += [_value_line(said.facts[name], values) for name in order if said.facts[name].operation]
    return (*steps, f"Answer: {values[said.asked]}")


def _value_line(fact: Fact, values: Mapping[str, int]) -> str:
    right = values[fact.right] if isinstance(fact.right, str) else fact.right
    return f"{fact.name} = {values[fact.left]} {fact.operation} {right} = {values[fact.name]}"


def rate(problem: Problem, steps: Sequence[str]) -> tuple[int, ...]:
    """The exact oracle: a rating of each step, given the problem and the steps before it.

    +1  correct and needed: a fact of the problem that the answer depends on, a value of such a quantity computed from
        values already established, the final answer once its value is established;
     0  correct but not needed (a distractor) or said before;
    -1  anything else: wrong arithmetic, a relation that the problem does not state, a quantity not yet known, a line of
        no known form, an answer that was not derived.

    A step is judged against the problem, not against the steps before it: what is computed rightly from a wrong value
    is wrong. The order of the two operands of a sum is free.
    """
    said = situation(problem.question)
    values, needed = said.values, set(said.order)
    stated: set[str] = set()
    known: set[str] = set()
    answered = False
    ratings = []
    for step in steps:
        if step == f"Answer: {values[said.asked]}" and said.asked in known:
            ratings.append(0 if answered else 1)
            answered = True
            continue
        name = step.split(" ", 1)[0]
        fact = said.facts.get(name)
        if fact is None:
            ratings.append(-1)
            continue
        forms = [fact]
        if isinstance(fact.right, str):
            forms.append(Fact(name, fact.operation, fact.right, fact.left))
        computable = fact.operation and known.issuperset(fact.sources)
        computed = [_value_line(form, values) for form in forms] if computable else []
        if step in [form.line for form in forms]:
            done = stated if fact.operation else known
        elif step in computed or (name in known and step == f"{name} = {values[name]}"):
            done = known
        else:
            ratings.append(-1)
            continue
        ratings.append(1 if name in needed and name not in done else 0)
        done.add(name)
    return tuple(ratings)
