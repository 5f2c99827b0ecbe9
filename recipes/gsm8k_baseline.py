"""A small process reward model from scratch, as a floor for the step benchmarks: what can be had in minutes on one core
from GSM8K's training solutions and errors made by rule.

    python -m recipes.gsm8k_baseline --data ../shared/data/gsm8k/train.jsonl.gz --out runs/baseline
    stepmark evaluate processbench --reward runs/baseline/prm --data ../shared/data/processbench/gsm8k.jsonl.gz
    stepmark evaluate prmbench --reward runs/baseline/prm --data ../shared/data/prmbench/test_p1.jsonl.gz

Each reference solution stands beside a copy in which the result of one calculation is wrong. The problems are of
GSM8K's training split; ProcessBench's are of its test split, so that none was seen.

It is a floor: at this size (2,000 problems, 2 epochs, 7 minutes of one shared core) it learns little but the base rate.
Held-out step AUC .587; ProcessBench gsm8k F1 16.0 [10.4, 21.4] with the threshold tuned on math (.824; at .5 it names
no step, F1 0), PRMBench test_p1 45.9 [45.4, 46.3], as `--trivial always_right`; sensitivity .000.
"""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
import tyro
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from stepmark.errors import InputError
from stepmark.problems.gsm8k import load
from stepmark.records import json_lines
from stepmark.rewards.examples import Example
from stepmark.rewards.settings import Train
from stepmark.rewards.train import train
from stepmark.types import Problem

CALCULATION = re.compile(r"<<[^<>]*=(?P<result>[^<>=]*)>>(?P=result)")


class _Row(msgspec.Struct):
    answer: str


@dataclass(frozen=True)
class Baseline:
    """Trains a tokenizer, makes a model of random weights, and trains it to tell wrong calculations from right ones."""

    data: Path
    """GSM8K's train.jsonl, plain or .gz"""
    out: Path
    """directory to write `base` and `prm` into"""
    problems: int = 2000
    vocabulary: int = 2048
    width: int = 96
    layers: int = 3
    epochs: int = 2
    seed: int = 0


def main(args: Baseline) -> None:
    if args.out.exists():
        raise InputError("exists already", path=args.out, remedy="choose another directory, or remove this one")
    problems = load(args.data)[: args.problems]
    answers = [row.answer for _, row in json_lines(args.data, _Row)][: args.problems]
    examples = [one for pair in zip(problems, answers, strict=True) for one in pair_of(*pair, args.seed)]
    texts = [
        problem.question + "\n" + CALCULATION.sub(r"\g<result>", a)
        for problem, a in zip(problems, answers, strict=True)
    ]
    tokenizer = build_tokenizer(texts, args.vocabulary)
    torch.manual_seed(args.seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=args.width,
        intermediate_size=3 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=args.width // 32,
        max_position_embeddings=4096,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=None,
        tie_word_embeddings=True,
    )
    LlamaForCausalLM(config).save_pretrained(args.out / "base")
    tokenizer.save_pretrained(args.out / "base")
    settings = Train(
        head="linear",
        epochs=args.epochs,
        learning_rate=1e-3,
        aggregate="product",
        label_source="injected",
        seed=args.seed,
    )
    result = train("prm", examples, args.out / "base", args.out / "prm", settings)
    print(f"{result.path}: {result.trained} solutions, {result.labels} steps, {result.mean_label:.3f} right")
    for number, epoch in enumerate(result.epochs, 1):
        print(f"epoch {number}: loss {epoch.train_loss:.4f}, held out {epoch.held_out_loss:.4f}, AUC {epoch.auc:.4f}")
    print(f"{result.tokens:,} tokens an epoch, {result.seconds:.0f} s")


def pair_of(problem: Problem, answer: str, seed: int) -> Iterator[Example]:
    """The reference solution, all right, and the same with one calculation's result changed, right up to there."""
    lines = [line for line in answer.split("\n")[:-1] if line.strip()]
    clean = tuple(CALCULATION.sub(r"\g<result>", line) for line in lines)
    if not clean:
        return
    yield Example(problem, clean, targets=(1.0,) * len(clean))
    rng = random.Random(repr((seed, problem.id)))
    places = [(s, found) for s, line in enumerate(lines) for found in CALCULATION.finditer(line)]
    if places:
        step, found = rng.choice(places)
        line = lines[step]
        wrong = line[: found.start()] + _changed(found["result"], rng) + line[found.end() :]
        steps = (*clean[:step], CALCULATION.sub(r"\g<result>", wrong), *clean[step + 1 :])
        targets = (1.0,) * step + (0.0,) + (None,) * (len(steps) - step - 1)
        yield Example(problem, steps, targets=targets)


def _changed(number: str, rng: random.Random) -> str:
    """The number with another digit in one place."""
    at = rng.choice([i for i, letter in enumerate(number) if letter.isdigit()])
    return number[:at] + rng.choice([d for d in "0123456789" if d != number[at]]) + number[at + 1 :]


def build_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    """Byte-level BPE in which digits and line ends stand alone."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary, special_tokens=["<|bos|>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer, bos_token="<|bos|>", clean_up_tokenization_spaces=False
    )


if __name__ == "__main__":
    main(tyro.cli(Baseline))
