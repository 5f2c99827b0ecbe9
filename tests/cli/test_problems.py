"""The files that `stepmark problems` writes are what the other verbs read."""

import json
from pathlib import Path

import pytest

from stepmark import problems
from stepmark.cli.main import main
from stepmark.problems import quantities


def test_generated_problems_come_back_as_they_were(tmp_path: Path) -> None:
    out = tmp_path / "p.jsonl.gz"
    words = ["problems", "quantities", "--n", "5", "--levels", "2", "3", "--seed", "4", "--out", str(out)]
    assert main(words) == 0
    assert problems.read(out) == list(quantities.generate("test", 5, seed=4, levels=(2, 3)))


def test_gsm8k_keeps_its_golds(tmp_path: Path) -> None:
    (tmp_path / "test.jsonl").write_text(json.dumps({"question": "1 + 1?", "answer": "It is 2.\n#### 2"}) + "\n")
    assert main(["problems", "read", "gsm8k", str(tmp_path / "test.jsonl"), "--out", str(tmp_path / "p.jsonl")]) == 0
    (one,) = problems.read(tmp_path / "p.jsonl")
    assert (one.question, one.gold, one.source) == ("1 + 1?", "2", "gsm8k")


def test_a_broken_file_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "test.jsonl").write_text('{"question": "1 + 1?"}\n')
    assert main(["problems", "read", "gsm8k", str(tmp_path / "test.jsonl"), "--out", str(tmp_path / "p.jsonl")]) == 2
    assert "test.jsonl:1" in capsys.readouterr().err
    assert not (tmp_path / "p.jsonl").exists()
