"""Published answers: golds equal themselves and not their neighbours; recorded labels are met."""

import gzip
import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from stepmark.grading import equal, extract

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data"))
pytestmark = pytest.mark.skipif(not DATA.exists(), reason="the data is not at ../shared/data or $STEPMARK_DATA")
SETS = [
    ("gsm8k/train", "answer"),
    ("gsm8k/test", "answer"),
    ("math/math500", "answer"),
    ("math/train_answers", "final_answer"),
]
SAME_VALUE = {
    ("5", "x=5"),
    (r"\dfrac34", r"\frac{3}{4}"),
    ("56", r"0.56 = 56\%"),
    ("2340", r"\mathbf{2340}"),
    ("10", "10.00"),
}
"""neighbours whose golds are one value, written differently"""


def rows(name: str) -> list[dict[str, Any]]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt") as lines:
        return [json.loads(line) for line in lines]


@pytest.mark.parametrize(("name", "field"), SETS)
def test_a_gold_equals_itself_after_a_solution_and_not_its_neighbour(name: str, field: str) -> None:
    golds = [row[field].rpartition("#### ")[2].strip() for row in rows(name)]
    golds = [gold for gold in golds if gold]
    assert len(golds) >= len(rows(name)) - 2  # two answers of MATH train are missing in the file
    for gold in golds:
        extracted = extract(f"We find it, so\nthe value is $\\boxed{{{gold}}}$.")
        assert extracted is not None
        assert equal(gold, extracted).correct, gold
    accepted = {(a, b) for a, b in pairwise(golds) if a != b and equal(a, b).correct}
    assert accepted <= SAME_VALUE


def test_the_pool_is_graded_as_recorded() -> None:
    """16,000 candidates of the GSM8K pool: no verdict differs from is_correct, none is missing."""
    verdicts = [
        (equal(row["ground_truth"], candidate["answer"]).value, candidate["is_correct"])
        for row in rows("bon_pool_gsm8k/candidates")
        for candidate in row["candidates"]
    ]
    assert len(verdicts) == 16_000
    assert all(value == ("correct" if recorded else "incorrect") for value, recorded in verdicts)


def test_solutions_of_models_are_graded_as_recorded() -> None:
    """5,276 solutions in GSM8K's style, with the answer extracted: no verdict differs from is_correct."""
    for row in rows("gsm8k/example_model_solutions"):
        gold = extract(row["ground_truth"])
        assert gold is not None
        for model in row.values():
            if isinstance(model, dict):
                answer = extract(model["solution"])
                assert (answer is not None and equal(gold, answer).correct) is model["is_correct"]
