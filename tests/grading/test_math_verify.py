"""The cases of Math-Verify's own tests (Apache-2.0): our verdict is what they expect but for those argued here."""

import gzip
import json
import os
from pathlib import Path

import pytest

from stepmark.grading import grade_all
from stepmark.types import Problem

FILE = (
    Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data"))
    / "grader_cases/math_verify.jsonl.gz"
)
ARGUED = {
    31: "expects $ 9 $ over several lines not to be read as formula; 9 is 9",
    32: "the same with \\( \\)",
    35: "expects 10/9 from `1/2 $ = 10/9`; an equation between numbers that does not hold is no answer",
    133: "expects 1/3 = 0.33; two digits are an approximation (four are accepted, and Policy.decimal_digits sets it)",
    187: "expects `x in [-2,7]` and `-2 <= x <= 7` to differ in one order and to be equal in the other (186)",
    215: "expects a gold whose box is never closed to be read; it was cut off, and a gold is never guessed",
    251: "expects f(x) = f(y) with a flag set and (250) not without; two values of an unknown function are not equal",
    252: "expects `\\boxed{35 cm} ++++++ \\boxed{4}` to be the list 35 cm, 4; nothing there joins the boxes",
}


@pytest.mark.skipif(not FILE.exists(), reason="the cases are not at ../shared/data or $STEPMARK_DATA")
def test_verdicts_are_as_expected_or_argued() -> None:
    with gzip.open(FILE, "rt") as lines:
        rows = [json.loads(line) for line in lines]
    pairs = [(Problem("case", "", row["gold"], "math-verify"), row["pred"]) for row in rows]
    graded = grade_all(pairs, texts=True)
    differing = {n for n, row in enumerate(rows) if graded[n].verdict.correct != row["equal"]}
    assert len(rows) == 255
    assert differing == set(ARGUED)
