import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM, Qwen2ForTokenClassification

from stepmark.cli.benchmarks import Judged
from stepmark.cli.main import main
from stepmark.cli.models import ReadAs, RewardOptions
from stepmark.formats.candidates import read_candidates
from stepmark.records import read
from stepmark.rewards.families import FAMILIES, load
from stepmark.types import Prefix, SolutionScores
from tests.rewards.families.published import SIZES, publish, tiny
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


def test_what_is_too_long_stops_the_scoring_or_is_masked_on_record(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Never cut, never scored by halves, and chosen by nothing."""
    pool = json.loads((files / "pool.jsonl").read_text().splitlines()[0])
    pool["candidates"].append({"steps": ["and again " * 1000], "answer": "1"})
    (files / "long.jsonl").write_text(json.dumps(pool) + "\n")
    words = ["score", "--reward", str(files / "prm"), "--candidates", str(files / "long.jsonl"), "--family", "pure"]
    assert main([*words, "--out", str(files / "stopped")]) == 2
    assert "are the limit" in capsys.readouterr().err
    assert main([*words, "--out", str(files / "masked"), "--too-long", "mask"]) == 0
    assert "2 solutions scored, 0 cut or empty and left out, 1 too long and masked" in capsys.readouterr().out
    out = files / "out.json"
    judged = ["evaluate", "pool", "--candidates", str(files / "long.jsonl"), "--scores", str(files / "masked")]
    assert main([*judged, "--resamples", "50", "--json", str(out)]) == 0
    curves = json.loads(out.read_text())["curves"]
    assert {row["aggregate"] for row in curves if row["scores"]} == {"min"}  # PURE's own
    assert [one.masked for one in read(files / "masked" / "scores.jsonl", SolutionScores)].count(True) == 1


def test_the_help_names_every_kind(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["score", "--help"])
    said = "".join(capsys.readouterr().out.replace("\u2502", " ").split())
    assert [name for name in FAMILIES if name not in said] == []


def test_the_kind_of_a_published_model_says_how_its_scores_are_used(files: Path) -> None:
    """Trap: PURE's are taken by their minimum, and none of them is a probability."""
    assert RewardOptions(reward=str(files / "prm"), family="pure").aggregate() == "min"
    judged = Judged(data=files / "pool.jsonl", reward=files / "prm", read_as=ReadAs(family="pure"))
    assert judged.below() == 0
    assert replace(judged, threshold=0.25).below() == 0.25
    unbounded = {name for name, family in FAMILIES.items() if "unbounded" in family.reading}
    assert unbounded == {name for name, family in FAMILIES.items() if family.threshold is None}


def test_a_language_model_judges_step_by_step(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One that has learnt to find guesses wrong, as it would be run for real."""
    tokenizer = qwen()
    torch.manual_seed(0)
    config = Qwen2Config(vocab_size=len(tokenizer), **SIZES, max_position_embeddings=512)
    lm: Any = Qwen2ForCausalLM(config)
    steps = [step for problem in POOL for one in problem["candidates"] for step in one["steps"]]
    taught = [
        (
            tokenizer.apply_chat_template([{"role": "user", "content": f"Is {step} right?"}], return_dict=False),
            tokenizer.encode(f"\\boxed{{{'No' if step == 'I guess.' else 'Yes'}}}\n"),
        )
        for step in dict.fromkeys(steps)
    ]
    optimizer = torch.optim.AdamW(lm.parameters(), lr=3e-3)
    for asked, verdict in taught * 60:
        ids = torch.tensor([[*asked, *verdict, tokenizer.eos_token_id]])
        lm(ids, labels=torch.where(torch.arange(ids.shape[1]) < len(asked), -100, ids)).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    publish(files / "critic", lm, tokenizer)
    (files / "question.txt").write_text("Is {step} right?")
    words = ["score", "--reward", str(files / "critic"), "--candidates", str(files / "pool.jsonl")]
    how = ["--family", "critic", "--votes", "3", "--question", str(files / "question.txt")]
    assert main([*words, "--out", str(files / "judged"), *how]) == 0
    assert "read, as told, as critic: the share of 3 judgements" in capsys.readouterr().out
    found = {(one.problem_id, one.index): one.scores for one in read(files / "judged/scores.jsonl", SolutionScores)}
    assert found == {(f"p{n}", i): ((1.0, 1.0), (0.0,))[i] for n in range(3) for i in range(2)}
