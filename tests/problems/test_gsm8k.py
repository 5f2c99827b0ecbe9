"""GSM8K: every problem of the published files is there, with the gold of its last line."""

import json
import os
import re
from pathlib import Path

import pytest

from stepmark.errors import InputError
from stepmark.problems import gsm8k
from stepmark.records import json_lines

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data")) / "gsm8k"
GOOD = {"question": "How many?", "answer": "2 * 540 = <<2*540=1080>>1,080\n#### 1,080"}


@pytest.mark.skipif(not DATA.exists(), reason="GSM8K is not at ../shared/data or $STEPMARK_DATA")
@pytest.mark.parametrize(("name", "number"), [("train", 7473), ("test", 1319)])
def test_all_published_problems_are_read(name: str, number: int) -> None:
    problems = gsm8k.load(DATA / f"{name}.jsonl.gz")
    assert len(problems) == len({p.id for p in problems}) == number
    rows = [row for _, row in json_lines(DATA / f"{name}.jsonl.gz", dict)]
    assert [p.question for p in problems] == [row["question"] for row in rows]
    assert [p.gold for p in problems] == [re.sub("[ ,]", "", row["answer"].rpartition("####")[2]) for row in rows]


def test_an_id_belongs_to_the_question_not_to_its_place(tmp_path: Path) -> None:
    """Verdicts and labels refer to problems by id: a subset or another order of the file must not mix them up."""
    rows = [{**GOOD, "question": f"How many {thing}?"} for thing in ("eggs", "hats", "cats")]
    ids = []
    for order in (rows, rows[::-1]):
        (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in order))
        ids.append({p.question: p.id for p in gsm8k.load(tmp_path / "x.jsonl")})
    assert ids[0] == ids[1]


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"question": "How many?"}, "answer"),
        ({**GOOD, "answer": "It is 1080."}, "no gold"),
        ({**GOOD, "answer": "#### many"}, "no gold"),
        ({**GOOD, "answer": "#### 1,08"}, "no gold"),
        ({**GOOD, "answer": "#### 7\nor rather 8"}, "no gold"),
        ({**GOOD, "question": " "}, "question is empty"),
        ({**GOOD, "answer": 1080}, r"\$\.answer"),
        (GOOD, "line 1 is here again"),
    ],
)
def test_a_bad_row_is_an_error_with_file_and_line(tmp_path: Path, row: dict[str, object], complaint: str) -> None:
    """Never a problem less, or one with a gold that is not the author's."""
    (tmp_path / "x.jsonl").write_text(json.dumps(GOOD) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(InputError, match=rf"x\.jsonl:2: .*{complaint}"):
        gsm8k.load(tmp_path / "x.jsonl")


def test_a_file_without_problems_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").write_text("\n")
    with pytest.raises(InputError, match="no problem"):
        gsm8k.load(tmp_path / "x.jsonl")
