"""`stepmark grade`: one line per input, in order; bad input is named and nothing is written."""

import json
from pathlib import Path

import pytest

from stepmark.cli.main import main


def pairs(path: Path, *rows: object) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_pairs_are_graded_in_order_with_reason_seconds_and_version(tmp_path: Path) -> None:
    file = pairs(
        tmp_path / "pairs.jsonl",
        {"gold": "1/2", "answer": r"so $\boxed{\frac{2}{4}}$"},
        {"gold": "so it is\n#### 18", "pred": "17"},
        {"gold": "7", "answer": r"\frac{1}{"},
        {"gold": "7", "answer": None},
        {"gold": 5, "pred": 5.0},
        {"gold": "B", "answer": "12", "question": "(A) 3 (B) 12 (C) 5"},
    )
    out = tmp_path / "out.jsonl"
    assert main(["grade", "pairs", file, "--json", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["verdict"] for row in rows] == ["correct", "incorrect", "ungraded", "incorrect", "correct", "correct"]
    assert rows[3]["reason"] == "no answer"
    assert all(row["seconds"] >= 0 and row["reason"] and row["grader"] for row in rows)


def test_without_json_the_lines_go_to_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["grade", "pairs", pairs(tmp_path / "p.jsonl", {"gold": "1", "answer": "1"})]) == 0
    assert json.loads(capsys.readouterr().out)["verdict"] == "correct"


def test_a_policy_is_an_option(tmp_path: Path) -> None:
    file, out = pairs(tmp_path / "p.jsonl", {"gold": "2516_8", "answer": "2516"}), tmp_path / "out.jsonl"
    assert main(["grade", "pairs", file, "--json", str(out), "--base", "digits"]) == 0
    assert json.loads(out.read_text())["verdict"] == "correct"


def test_a_pair_without_an_answer_field_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = pairs(tmp_path / "p.jsonl", {"gold": "1", "answer": "1"}, {"gold": "2"}), tmp_path / "out.jsonl"
    assert main(["grade", "pairs", file, "--json", str(out)]) == 2
    assert "p.jsonl:2" in capsys.readouterr().err
    assert not out.exists()


def test_every_candidate_of_a_pool_has_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    candidates = [{"steps": ["a"], "answer": answer, "is_correct": answer == "7"} for answer in ("7", "7.0", None)]
    row = {"problem_id": "p", "question": "?", "ground_truth": "7", "candidates": candidates}
    out = tmp_path / "out.jsonl"
    assert main(["grade", "pool", pairs(tmp_path / "pool.jsonl", row), "--json", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["problem_id"], row["candidate_index"], row["verdict"]) for row in rows] == [
        ("p", 0, "correct"),
        ("p", 1, "correct"),
        ("p", 2, "incorrect"),
    ]
    assert "1 verdicts differ from the recorded is_correct" in capsys.readouterr().out
