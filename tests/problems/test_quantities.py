"""Quantities: the oracle is exact, the text can be read back, the splits never meet."""

import itertools
import re

import pytest

from stepmark.errors import InputError
from stepmark.problems import quantities
from stepmark.types import Problem

SPLITS = ("train", "validation", "test", "ood")
QUESTION = (
    "Cat has Lee's coins minus 3. Bo has 5 coins. Lee owns twice of Ida's coins. Ida holds 12 coins. "
    "Max owns Ida's and Cat's coins. How many coins does Max have?"
)
HAND = Problem("hand", QUESTION, "33", "quantities")
RIGHT = (
    "Max : Ida + Cat",
    "Cat : Lee - 3",
    "Lee : Ida * 2",
    "Ida = 12",
    "Lee = 12 * 2 = 24",
    "Cat = 24 - 3 = 21",
    "Max = 12 + 21 = 33",
    "Answer: 33",
)


@pytest.mark.parametrize("split", SPLITS)
def test_reference_solution_is_right_in_every_step_and_as_long_as_its_level(split):
    for problem in quantities.generate(split, 400, seed=3):
        written = quantities.solve(problem)
        assert quantities.rate(problem, written) == (1,) * len(written)
        assert written[-1] == f"Answer: {problem.gold}"
        assert sum(step.count(" = ") == 2 for step in written) == problem.level


def independent_values(question: str) -> dict[str, int]:
    """The amounts, read by rules written for this test alone, sentence by sentence, until nothing changes."""
    word = {"twice": (2, 1), "half": (1, 2), "third": (1, 3)}
    values: dict[str, int] = {}
    sentences = re.split(r"(?<=[.?]) ", question)[:-1]
    for _ in sentences:
        for sentence in sentences:
            names = list(dict.fromkeys(n for n in re.findall(r"[A-Z][a-z]+", sentence) if n in quantities.NAMES))
            number = int((re.findall(r"\d+", sentence) or ["0"])[0])
            factor = next((f for w, f in word.items() if w in sentence), None)
            if len(names) == 1:
                values[names[0]] = number
            elif len(names) == 3:
                total, *parts = names
                if all(part in values for part in parts):
                    values[total] = sum(values[part] for part in parts)
            else:
                new, old = names
                if old not in values:
                    continue
                if factor:
                    values[new] = values[old] * factor[0] // factor[1]
                elif "times" in sentence:
                    values[new] = values[old] * number
                elif re.search("fewer|less|minus", sentence):
                    values[new] = values[old] - number
                else:
                    values[new] = values[old] + number
    return values


def test_gold_equals_an_independent_reading_of_the_text():
    """The phrasing says what the facts say: a second reader, which shares no code, finds the same amounts."""
    for split in ("train", "test"):
        for problem in quantities.generate(split, 500, seed=5):
            asked = next(
                n for n in re.findall(r"[A-Z][a-z]+", problem.question.split(". ")[-1]) if n in quantities.NAMES
            )
            assert str(independent_values(problem.question)[asked]) == problem.gold, problem.question


def test_same_seed_and_index_give_the_same_problem_alone_or_in_a_range():
    whole = list(quantities.generate("test", 30, seed=7))
    assert list(quantities.generate("test", 5, seed=7, start=12)) == whole[12:17]
    assert len({p.question for p in whole}) == 30
    assert [p.level for p in whole[:6]] == [1, 2, 3, 4, 5, 6]


def test_no_situation_is_in_two_splits():
    seen: dict[tuple[object, ...], str] = {}
    for split in SPLITS:
        for problem in quantities.generate(split, 1500, levels=(1, 2)):
            said = quantities.situation(problem.question)
            key = (*sorted(fact.line for fact in said.facts.values()), said.asked)
            assert seen.setdefault(key, split) == split


def test_out_of_distribution_phrasings_occur_nowhere_else():
    def shapes(split: quantities.Split) -> set[str]:
        texts = (p.question for p in quantities.generate(split, 800))
        sentences = itertools.chain.from_iterable(re.split(r"(?<=[.?]) ", text) for text in texts)
        words = "|".join((*quantities.NAMES, *quantities.THINGS))
        return {re.sub(r"\d+", "k", re.sub(rf"\b({words})\b", "x", s)) for s in sentences}

    assert not shapes("ood") & (shapes("train") | shapes("test"))


def test_every_level_and_every_number_of_a_problem_stay_in_range():
    for problem in quantities.generate("test", 400, levels=range(1, quantities.HIGHEST_LEVEL + 1)):
        assert all(1 <= v <= quantities.LARGEST for v in quantities.situation(problem.question).values.values())


def test_the_oracle_accepts_the_hand_made_solution():
    assert quantities.rate(HAND, RIGHT) == (1,) * 8


@pytest.mark.parametrize(
    ("at", "line", "rating"),
    [
        (0, "Max : Cat + Ida", 1),  # the operands of a sum may stand in any order
        (0, "Max : Ida + Lee", -1),  # a relation that the problem does not state
        (1, "Cat : Lee + 3", -1),
        (1, "Cat : Lee - 8", -1),
        (1, "Bo = 5", 0),  # true, not needed
        (1, "Max : Ida + Cat", 0),  # said before
        (1, "Lee = 12 * 2 = 24", -1),  # Ida is not yet known
        (3, "Ida = 13", -1),
        (4, "Lee = 12 * 2 = 25", -1),  # wrong arithmetic
        (4, "Lee = 12 * 3 = 36", -1),  # wrong number
        (4, "Lee = 24", -1),  # right, but not computed
        (5, "Lee = 24", 0),  # known by then: said before
        (5, "Cat = 25 - 3 = 22", -1),  # right arithmetic on a wrong value
        (6, "Max = 21 + 12 = 33", 1),
        (5, "Answer: 33", -1),  # not derived yet
        (7, "Answer: 34", -1),
        (7, "answer 33", -1),
        (7, "", -1),
        (7, "Zed = 3", -1),
    ],
)
def test_the_oracle_judges_one_line(at, line, rating):
    assert quantities.rate(HAND, (*RIGHT[:at], line))[-1] == rating


def test_what_follows_from_a_wrong_value_is_wrong():
    assert quantities.rate(HAND, (*RIGHT[:4], "Lee = 12 * 2 = 26", "Cat = 26 - 3 = 23"))[-2:] == (-1, -1)


def test_foreign_text_is_refused():
    with pytest.raises(InputError, match="not a sentence of Quantities"):
        quantities.situation("Tom runs fast. How many coins does Tom have?")
    with pytest.raises(InputError, match="undefined in the problem: Bo"):
        quantities.situation("Tom has Bo's coins minus 3. How many coins does Tom have?")
    with pytest.raises(InputError, match="level 99"):
        quantities.problem("test", 0, 0, 99)
