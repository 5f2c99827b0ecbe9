"""`stepmark train`, from record files to a model that scores."""

import asyncio
from pathlib import Path

import pytest
import torch
from tokenizers import Regex, Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stepmark.cli.main import main
from stepmark.cli.train import Train
from stepmark.errors import InputError
from stepmark.records import write
from stepmark.rewards.local import LocalReward
from stepmark.rewards.settings import Train as Settings
from stepmark.types import Prefix, Problem, Solution, StepLabels

PROBLEMS = [Problem(id=f"p{n}", question=f"1 + {n} ?", gold=str(n + 1), source="toy") for n in range(4)]
SOLUTIONS = [
    Solution(p.id, i, ("1", answer), answer, "stop") for p in PROBLEMS for i, answer in enumerate((p.gold, "9"))
]
LABELS = [StepLabels(s.problem_id, s.index, (1, -1 if s.index else 1), "oracle") for s in SOLUTIONS]


@pytest.fixture
def records(tmp_path: Path) -> Path:
    """Problems, solutions and labels as recorded, and a base model of random weights."""
    write(tmp_path / "problems.jsonl", PROBLEMS)
    write(tmp_path / "solutions.jsonl", [*SOLUTIONS, Solution("p0", 2, ("1",), None, "length")])
    write(tmp_path / "labels.jsonl", LABELS)
    words = ["<|bos|>", "<|eos|>", "?", "\n", " +", " -", *map(str, range(10)), *(f" {n}" for n in range(10))]
    backend = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="?"))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"\n| ?[^\s]+"), "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<|bos|>", eos_token="<|eos|>")
    tokenizer.save_pretrained(tmp_path / "base")
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=len(words), max_position_embeddings=64, bos_token_id=0, eos_token_id=1, **sizes)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    return tmp_path


def command(records: Path, kind: str, *, labels: bool) -> Train:
    return Train(
        kind=kind,
        problems=records / "problems.jsonl",
        solutions=records / "solutions.jsonl",
        base=records / "base",
        out=records / kind,
        labels=records / "labels.jsonl" if labels else None,
        settings=Settings(epochs=1, held_out=0.25),
    )


@pytest.mark.parametrize(("kind", "source"), [("prm", "oracle"), ("orm", "grader")])
def test_records_become_a_model_that_scores(
    records: Path, capsys: pytest.CaptureFixture[str], kind: str, source: str
) -> None:
    assert command(records, kind, labels=kind == "prm").run() == 0
    said = capsys.readouterr().out
    assert "6 solutions trained, 2 held out" in said
    assert ("9 of 1)" if kind == "prm" else "3 of 1)") in said
    assert "first-error F1" in said
    assert "left out: 1 solutions (1 unfinished, 0 not labelled, 0 too long)" in said
    reward = LocalReward.load(records / kind)
    assert (reward.spec.kind, reward.spec.label_source) == (kind, source)
    assert len(asyncio.run(reward.score(Prefix(PROBLEMS[0], ("1", "2")))).scores) == 2


def test_the_command_line_reaches_the_settings(records: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """And what is wrong with them is told with exit status 2, before anything is written."""
    files = [f"--{name}={records / name}.jsonl" for name in ("problems", "solutions", "labels")]
    where = [f"--base={records / 'base'}", f"--out={records / 'out'}"]
    assert main(["train", "prm", *files, *where, "--marker", "<|none|>"]) == 2
    assert "'<|none|>' is not one token" in capsys.readouterr().err
    assert not (records / "out").exists()


@pytest.mark.parametrize("kind", ["prm", "orm"])
def test_labels_belong_to_a_prm_and_only_there(records: Path, kind: str) -> None:
    with pytest.raises(InputError, match="step labels"):
        command(records, kind, labels=kind == "orm").run()
    assert not (records / kind).exists()
