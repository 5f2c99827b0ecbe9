"""A smaller policy, for the exchange of a larger model with more inference (Snell et al. 2024, arXiv 2408.03314,
section 7): a policy without some of its layers, trained again.

    python -m recipes.smaller_policy --out runs/smaller
    stepmark problems quantities --split test --seed 11 --n 500 --out p.jsonl
    stepmark search --strategy parallel --n 1 --temperature 0 --reward bundled --problems p.jsonl --out runs/large
    for n in 1 4 16; do stepmark search --strategy parallel --n $n --choose weighted --temperature 1 \
        --policy runs/smaller --reward bundled --problems p.jsonl --out runs/small-$n; done
    for n in 4 16; do stepmark search --strategy particles --n $n --choose weighted --temperature 1 \
        --policy runs/smaller --reward bundled --problems p.jsonl --out runs/small-particles-$n; done
    stepmark compare runs/small-* --larger runs/large

Layers go one after the other: the one without which the loss is least, until `--layers` are left. What is left learns
to write solutions of the train split by the author whose solutions the bundled policy learned from last
(`recipes.critiques.fallible`). From nothing it would have to discover how to look things up, which took the bundled
policy most of its training (docs/log.md).
"""

import random
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import tyro
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from recipes import bundled_policy
from recipes.revision_policy import Row, batches, loss, tune
from stepmark.errors import InputError
from stepmark.policies import bundled
from stepmark.precision import device

WORKER = 1_000
"""the number by which its problems are others than those that the bundled policy was trained on"""


@dataclass(frozen=True)
class Settings:
    """Takes layers out of a policy, and trains what is left."""

    out: Path
    """directory that receives the model and its tokenizer"""
    policy: Path = bundled.PATH
    """the model to begin with"""
    layers: int = 7
    """that are left"""
    solutions: int = 8_000
    """to learn from, each of another problem"""
    held_out: int = 500
    """solutions by whose loss layers are chosen, and training is watched"""
    learning_rate: float = 1e-3
    """falls linearly to zero"""
    batch_tokens: int = 8192
    """of an update, padding included"""
    seed: int = 0


def hold(model: Any, layers: list[Any]) -> None:
    """Leaves the model these of its layers."""
    model.model.layers = torch.nn.ModuleList(layers)
    model.config.num_hidden_layers = len(layers)


def shed(model: Any, layers: int, rows: list[Row], pad: int) -> None:
    """Leaves the model `layers` of its layers: takes out the one without which the loss on `rows` is least, again and
    again."""
    every = list(model.model.layers)
    if not 1 <= layers <= len(every):
        raise InputError(f"--layers {layers} of a policy of {len(every)}")
    some = list(batches(rows, 8192, pad, random.Random(0)))
    while len(every) > layers:
        without = [every[:at] + every[at + 1 :] for at in range(len(every))]
        losses = []
        for left in without:
            hold(model, left)
            with torch.no_grad():
                losses.append(sum(loss(model, *batch).item() for batch in some) / len(some))
        every = without[losses.index(min(losses))]
        print(f"{len(every)} layers: loss {min(losses):.3f}", flush=True)
    hold(model, every)


def main(settings: Settings) -> None:
    words = PreTrainedTokenizerFast.from_pretrained(settings.policy)
    author = bundled_policy.Settings(settings.out, critique_share=0.0, seed=settings.seed)
    written = bundled_policy.documents(author, words, term=1, worker=WORKER)
    rows = [(ids, targets) for ids, targets, _ in islice(written, settings.held_out + settings.solutions)]
    held_out, learned = rows[: settings.held_out], rows[settings.held_out :]
    model: Any = AutoModelForCausalLM.from_pretrained(settings.policy, dtype=torch.float32)
    model.to(device())
    shed(model, settings.layers, held_out[:100], words.pad_token_id)
    tune(
        *(model, learned, held_out),
        epochs=1,
        learning_rate=settings.learning_rate,
        batch_tokens=settings.batch_tokens,
        pad=words.pad_token_id,
        seed=settings.seed,
    )
    model.to(torch.bfloat16).save_pretrained(settings.out)
    words.save_pretrained(settings.out)
    print(settings.out)


if __name__ == "__main__":
    main(tyro.cli(Settings))
