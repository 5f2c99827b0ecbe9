"""Trains the bundled policy from scratch on Quantities, in about an hour on two CPU cores.

    python -m recipes.bundled_policy --out src/stepmark/policies/bundled

A Llama of 10 layers and width 128. Two thirds of its documents are problems with their solutions; as in the MathMix of
Let's Verify Step by Step (arXiv 2305.20050, appendix A) about a third are critiques: right and wrong solutions in which
every step is followed by `<|judge|>`, whose next token is " +" or " -". The marks themselves are never input, so no
judgement sees an earlier one. In critiques a further head, dropped after training, tells at every token whether its
step has gone wrong: the model must compare what is written with what it expected. Matrices are trained with Muon, the
rest with AdamW, both with rates that fall linearly to zero.
"""

import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recipes import critiques, tokenizer
from stepmark import steps
from stepmark.problems import quantities
from stepmark.rewards.examples import single_token

IGNORE = -100


@dataclass(frozen=True)
class Settings:
    """Trains the bundled policy from scratch on Quantities."""

    out: Path
    """directory that receives the model and its tokenizer"""
    tokens: float = 24e6
    """training tokens, padding included; the learning rates reach zero at their end"""
    layers: int = 10
    width: int = 128
    feedforward: int = 384
    heads: int = 4
    batch_tokens: int = 8192
    critique_share: float = 1 / 3
    mark_weight: float = 3.0
    """weight of a judgement's loss beside that of a token of a solution"""
    flaw_weight: float = 0.3
    """weight of telling, at every token of a critique, whether its step has gone wrong"""
    muon_rate: float = 0.01
    adam_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 1


Document = tuple[list[int], list[int], list[int]]
"""token ids; at each position the id of the next token, where it is trained; at each token of a critique's steps
whether the step is wrong so far (1) or not (0); IGNORE elsewhere"""


def documents(settings: Settings, words: PreTrainedTokenizerFast) -> Iterator[Document]:
    """Endless training documents: problems of the train split, each once."""
    rng = random.Random(settings.seed)
    judge, right, wrong = (single_token(words, text) for text in (tokenizer.JUDGE, tokenizer.RIGHT, tokenizer.WRONG))

    def encode(text: str) -> list[int]:
        ids: list[int] = words.encode(text, add_special_tokens=False)
        return ids

    for problem in quantities.generate("train", 10**9, seed=settings.seed):
        ids = [words.bos_token_id, *encode(problem.question + steps.SEPARATOR)]
        if rng.random() >= settings.critique_share:
            solution = [*encode(steps.join(quantities.solve(problem))), words.eos_token_id]
            targets = [IGNORE] * (len(ids) - 1) + solution + [IGNORE]
            yield ids + solution, targets, [IGNORE] * len(targets)
            continue
        written = critiques.misread(problem, rng) if rng.random() < 0.5 else critiques.corrupt(problem, rng)
        reference = [encode(step + steps.SEPARATOR) for step in quantities.solve(problem)]
        targets, flaws = [IGNORE] * len(ids), [IGNORE] * len(ids)
        for step, rating in zip(written, quantities.rate(problem, written), strict=True):
            line = encode(step + steps.SEPARATOR)
            agreed = max(_agreed(line, right_line) for right_line in reference)
            flaw = min(agreed, len(line) - 1) if rating < 0 else len(line)
            ids += [*line, judge]
            targets += [IGNORE] * len(line) + [wrong if rating < 0 else right]
            flaws += [int(at >= flaw) for at in range(len(line))] + [IGNORE]
        yield ids, targets, flaws


def _agreed(one: list[int], other: list[int]) -> int:
    """How many ids two lines share at their beginning."""
    return next((at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))


def batches(
    settings: Settings, words: PreTrainedTokenizerFast
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Documents of like length together, in lengths that are multiples of 64 (few shapes, little padding)."""
    waiting: dict[int, list[Document]] = {}
    for document in documents(settings, words):
        length = -(-len(document[0]) // 64) * 64
        bucket = waiting.setdefault(length, [])
        bucket.append(document)
        if len(bucket) * length >= settings.batch_tokens:
            padding = (words.pad_token_id, IGNORE, IGNORE)
            rows = [
                [[*part, *[pad] * (length - len(part))] for part, pad in zip(d, padding, strict=True)] for d in bucket
            ]
            ids, targets, flaws = torch.tensor(rows).unbind(1)
            waiting[length] = []
            yield ids, targets, flaws


def share_twins(model: Any, words: PreTrainedTokenizerFast) -> None:
    """Let a piece with and without its leading space begin as nearly the same vector: they mean the same."""
    rows = model.get_input_embeddings().weight.data
    vocabulary = words.get_vocab()
    for piece, row in vocabulary.items():
        if (" " + piece) in vocabulary:
            rows[vocabulary[" " + piece]] = rows[row] + 0.3 * rows[vocabulary[" " + piece]]


def look_up_first(model: Any) -> None:
    """Let half of the heads begin by attending to what resembles the token, and by copying it ("mimetic" initial
    values, Trockman and Kolter 2023, arXiv 2305.09828). Looking up a name among the facts is what is hard to discover:
    from ordinary initial values it takes most of the training, and all else has to wait for it."""
    size, heads = model.config.head_dim, model.config.num_attention_heads
    for layer in model.model.layers:
        attention = layer.self_attn
        for head in range(heads // 2):
            rows = slice(head * size, (head + 1) * size)
            match, copy = (torch.nn.init.orthogonal_(torch.empty(size, model.config.hidden_size)) for _ in range(2))
            attention.q_proj.weight.data[rows] = attention.k_proj.weight.data[rows] = match
            attention.v_proj.weight.data[rows] = copy
            attention.o_proj.weight.data[:, rows] = 0.5 * copy.T


def train(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    words = tokenizer.build()
    model: Any = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(words),
            hidden_size=settings.width,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            intermediate_size=settings.feedforward,
            max_position_embeddings=512,
            tie_word_embeddings=True,
            bos_token_id=words.bos_token_id,
            eos_token_id=words.eos_token_id,
            pad_token_id=words.pad_token_id,
        )
    )
    model.set_attn_implementation("eager")  # its backward is much faster than the fused one on a CPU
    share_twins(model, words)
    look_up_first(model)
    spotter = torch.nn.Linear(settings.width, 1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    spotter.to(device)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in (*model.parameters(), *spotter.parameters()) if id(p) not in chosen]
    optimizers = [
        torch.optim.Muon(
            matrices, lr=settings.muon_rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=settings.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    forward: Any = torch.compile(model.model, dynamic=False)
    judge = torch.tensor(single_token(words, tokenizer.JUDGE), device=device)
    began, step, tokens = time.monotonic(), 0, 0
    sums = torch.zeros(4)
    for batch in batches(settings, words):
        left = 1 - tokens / settings.tokens
        if left <= 0:
            break
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 100) * left
        ids, targets, flaws = (part.to(device) for part in batch)
        wanted, watched = targets != IGNORE, flaws != IGNORE
        judged = ids[wanted] == judge
        with torch.autocast(device, torch.bfloat16):
            hidden = forward(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[wanted])
            spotted = spotter(hidden[watched])[:, 0]
        losses = torch.nn.functional.cross_entropy(logits.float(), targets[wanted], reduction="none")
        weights = 1.0 + (settings.mark_weight - 1.0) * judged
        loss = (losses * weights).sum() / weights.sum()
        if watched.any():
            loss = loss + settings.flaw_weight * torch.nn.functional.binary_cross_entropy_with_logits(
                spotted.float(), flaws[watched].float()
            )
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
        spotter.zero_grad()
        step, tokens = step + 1, tokens + ids.numel()
        sums += torch.stack([losses[~judged].sum(), (~judged).sum(), losses[judged].sum(), judged.sum()]).detach().cpu()
        if step % 100 == 0:
            took = time.monotonic() - began
            print(
                f"step {step}  {took / 60:.1f} min  {tokens / took / 1e3:.1f}k tokens/s  "
                f"solution loss {sums[0] / sums[1]:.4f}  critique loss {sums[2] / sums[3]:.4f}",
                flush=True,
            )
            sums.zero_()
    model.to(torch.bfloat16).save_pretrained(settings.out)
    words.save_pretrained(settings.out)


if __name__ == "__main__":
    train(tyro.cli(Settings))
