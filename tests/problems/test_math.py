"""MATH: every problem of the published files is there, with its own gold, level and id."""

import json
import os
from pathlib import Path

import pytest

from stepmark.errors import InputError
from stepmark.grading import grade
from stepmark.problems import math
from stepmark.records import json_lines

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data")) / "math"
published = pytest.mark.skipif(not DATA.exists(), reason="MATH is not at ../shared/data or $STEPMARK_DATA")
GOOD = {"problem": "What is $1+1$?", "solution": r"First $\boxed{1}$, then $\boxed{\frac{4}{2}}$.", "level": "Level 1"}


@published
def test_all_500_are_read() -> None:
    problems = math.load(DATA / "math500.jsonl.gz")
    assert len(problems) == len({p.id for p in problems}) == 500
    assert sorted({p.level for p in problems}) == [1, 2, 3, 4, 5]
    assert problems[0].id == "math-test/precalculus/807.json"
    assert problems[0].gold == r"\left( 3, \frac{\pi}{2} \right)"


@published
def test_the_gold_in_the_solution_is_the_gold_beside_it(tmp_path: Path) -> None:
    """The original rows have no `answer`: what is read from their solutions must be what the curators wrote down."""
    rows = [row for _, row in json_lines(DATA / "math500.jsonl.gz", dict)]
    (tmp_path / "original.jsonl").write_text(
        "".join(json.dumps({k: v for k, v in r.items() if k != "answer"}) + "\n" for r in rows)
    )
    assert math.load(tmp_path / "original.jsonl") == math.load(DATA / "math500.jsonl.gz")


@published
def test_a_published_row_without_gold_is_named() -> None:
    """The answers of the training set have two such rows; the grader cannot decide without a gold."""
    with pytest.raises(InputError, match=r"train_answers\.jsonl\.gz:2301: the problem has no gold"):
        math.load(DATA / "train_answers.jsonl.gz")


def test_the_last_box_of_the_original_format_is_the_gold(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text(
        json.dumps(GOOD) + "\n" + json.dumps({**GOOD, "problem": "2?", "level": "Level ?"})
    )
    one, two = math.load(tmp_path / "x.jsonl")
    assert (one.gold, one.level, two.level) == (r"\frac{4}{2}", 1, None)
    assert grade(one, "2").correct


@pytest.mark.parametrize(
    ("solution", "gold"),
    [
        (r"$\boxed{10}\%$ or $\boxed{12}$ percent", "12"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{\begin{pmatrix} 1 \\ 2 \end{pmatrix}}.", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}"),
        (r"so \boxed 5.", "5"),
        (r"\fbox{C}", "C"),
    ],
)
def test_a_box_ends_at_its_own_brace(tmp_path: Path, solution: str, gold: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps({**GOOD, "solution": solution}))
    assert math.load(tmp_path / "x.jsonl")[0].gold == gold


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"solution": r"\boxed{2}"}, "problem"),
        ({"problem": "2?"}, "no gold"),
        ({"problem": "2?", "solution": "The answer is 2."}, "no gold"),
        ({"problem": "2?", "solution": r"\boxed{2"}, "no gold"),
        ({"problem": "2?", "answer": 2}, r"\$\.answer"),
        (GOOD, "line 1 is here again"),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line(tmp_path: Path, row: dict[str, object], complaint: str) -> None:
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=rf"x\.jsonl:2: .*{complaint}"):
        math.load(tmp_path / "x.jsonl")
