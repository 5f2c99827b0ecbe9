import asyncio
import json
from pathlib import Path

import pytest
from transformers import Qwen2Config, Qwen2ForTokenClassification

from stepmark.cli.main import main
from stepmark.formats.candidates import read_candidates
from stepmark.records import read
from stepmark.rewards.families import load
from stepmark.types import Prefix, SolutionScores
from tests.rewards.families.published import publish, tiny
from tests.rewards.families.tokenizers import qwen

POOL = [
    {
        "problem_id": f"p{number}",
        "question": f"What is {number} + 1?",
        "ground_truth": str(number + 1),
        "candidates": [
            {"steps": [f"{number} + 1 = {number + 1}.", "Done."], "answer": str(number + 1)},
            {"steps": ["I guess."], "answer": "0"},
        ],
    }
    for number in range(3)
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "pool.jsonl").write_text("".join(json.dumps(line) + "\n" for line in POOL))
    tokenizer = qwen()
    publish(tmp_path / "prm", tiny(Qwen2Config, Qwen2ForTokenClassification, tokenizer, num_labels=2), tokenizer)
    return tmp_path


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_pool_is_scored_as_the_model_that_was_named(
    files: Path, capsys: pytest.CaptureFixture[str], processes: str
) -> None:
    """With as many scores as steps, each candidate's its own."""
    words = ["score", "--reward", str(files / "prm"), "--candidates", str(files / "pool.jsonl")]
    how = ["--family", "trl", "--separator", "\\n\\n", "--processes", processes]
    assert main([*words, "--out", str(files / "out"), *how]) == 0
    said = capsys.readouterr().out
    assert "read, as told, as trl" in said
    assert "6 solutions scored" in said
    pool = read_candidates(files / "pool.jsonl")
    found = {(one.problem_id, one.index): one.scores for one in read(files / "out" / "scores.jsonl", SolutionScores)}
    assert [len(found[f"p{n}", i]) for n in range(3) for i in range(2)] == [2, 1] * 3
    reward = load(files / "prm", "trl", separator="\n\n").reward
    expected = asyncio.run(reward.score(Prefix(pool[1].problem, pool[1].candidates[0].steps))).scores
    assert found["p1", 0] == pytest.approx(expected, abs=1e-6)


def test_a_family_that_is_not_told_stops_before_anything_is_written(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", "--reward", str(files / "prm"), "--candidates", str(files / "pool.jsonl")]
    assert main([*words, "--out", str(files / "out")]) == 2
    assert "trl or pure" in capsys.readouterr().err
    assert not (files / "out").exists()
