"""Trains the bundled policy from scratch on Quantities.

A Llama of 10 layers and width 128, trained in two terms. In the first, two thirds of its documents are problems with
their right solutions. In the second these are by a fallible author (`critiques.fallible`), as those of people are: the
model comes to know better than it writes, which is what a verifier can bring out, and some mistakes are so common that
the majority of its solutions makes them. As in the MathMix of Let's Verify Step by Step (arXiv 2305.20050, appendix A)
about a third of the documents are critiques, in both terms: right and wrong solutions in which every step is followed
by `<|judge|>`, whose next token is " +" or " -". The marks themselves are never input, so no judgement sees an earlier
one. In critiques a further head, dropped after each term, tells at every token whether its step has gone wrong: the
model must compare what is written with what it expected. Matrices are trained with Muon, the rest with AdamW, both with
rates that fall linearly to zero.

The bundled one is the last of these, made on an H200 in five minutes (Muon computes in bfloat16: a CPU without units
for that takes days):

    python -m recipes.bundled_policy --out first --tokens 60.4e6 0 --batch-tokens 32768 --workers 12
    python -m recipes.bundled_policy --out src/stepmark/policies/bundled/model --start first --tokens 0 14e6 \
        --batch-tokens 16384 --workers 4
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from torch.utils.data import DataLoader, IterableDataset, get_worker_info
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recipes import critiques, tokenizer
from stepmark import steps
from stepmark.precision import bfloat16_is_fast, device
from stepmark.problems import quantities
from stepmark.rewards.examples import single_token

IGNORE = -100


@dataclass(frozen=True)
class Settings:
    """Trains the bundled policy from scratch on Quantities."""

    out: Path
    """directory that receives the model and its tokenizer"""
    tokens: tuple[float, float] = (24e6, 14e6)
    """training tokens of the two terms, padding included; the learning rates reach zero at the end of each"""
    start: Path | None = None
    """model to go on from, in place of a new one: with `--tokens 0 N`, what a first term made"""
    layers: int = 10
    width: int = 128
    feedforward: int = 384
    heads: int = 4
    batch_tokens: int = 8192
    """of an update, padding included"""
    workers: int = 1
    """processes that write documents; each writes others, so that their number belongs to the result"""
    critique_share: float = 1 / 3
    mark_weight: float = 3.0
    """weight of a judgement's loss beside that of a token of a solution"""
    flaw_weight: float = 0.3
    """weight of telling, at every token of a critique, whether its step has gone wrong"""
    muon_rate: tuple[float, float] = (0.01, 0.006)
    adam_rate: tuple[float, float] = (3e-3, 1.8e-3)
    weight_decay: float = 0.01
    seed: int = 1


Document = tuple[list[int], list[int], list[int]]
"""token ids; at each position the id of the next token, where it is trained; at each token of a critique's steps
whether the step is wrong so far (1) or not (0); IGNORE elsewhere"""


def documents(settings: Settings, words: PreTrainedTokenizerFast, term: int, worker: int) -> Iterator[Document]:
    """Endless training documents: problems of the train split, each once."""
    rng = random.Random(f"{settings.seed}/{term}/{worker}")
    judge, right, wrong = (single_token(words, text) for text in (tokenizer.JUDGE, tokenizer.RIGHT, tokenizer.WRONG))

    def encode(text: str) -> list[int]:
        ids: list[int] = words.encode(text, add_special_tokens=False)
        return ids

    for problem in quantities.generate("train", 10**9, seed=settings.seed + term, start=worker * 10**9):
        ids = [words.bos_token_id, *encode(problem.question + steps.SEPARATOR)]
        if rng.random() >= settings.critique_share:
            written = critiques.fallible(problem, rng) if term else quantities.solve(problem)
            solution = [*encode(steps.join(written)), words.eos_token_id]
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


def padded(rows: Sequence[Sequence[list[int]]], length: int, fills: Sequence[int]) -> torch.Tensor:
    """[rows, parts of a row, length]: each part filled up by its own id."""
    return torch.tensor(
        [[part + [fill] * (length - len(part)) for part, fill in zip(row, fills, strict=True)] for row in rows]
    )


@dataclass(frozen=True)
class Batches(IterableDataset[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]):
    """Documents of like length together, in lengths that are multiples of 64 (few shapes, little padding)."""

    settings: Settings
    words: PreTrainedTokenizerFast
    term: int

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        waiting: dict[int, list[Document]] = {}
        info = get_worker_info()
        for document in documents(self.settings, self.words, self.term, info.id if info else 0):
            length = -(-len(document[0]) // 64) * 64
            bucket = waiting.setdefault(length, [])
            bucket.append(document)
            if len(bucket) * length >= self.settings.batch_tokens:
                waiting[length] = []
                ids, targets, flaws = padded(bucket, length, (self.words.pad_token_id, IGNORE, IGNORE)).unbind(1)
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


def begin(settings: Settings, words: PreTrainedTokenizerFast) -> Any:
    """The model that training begins with."""
    torch.manual_seed(settings.seed)
    if settings.start is not None:
        return LlamaForCausalLM.from_pretrained(settings.start, dtype=torch.float32, attn_implementation="eager")
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
    return model


def train(settings: Settings) -> None:
    words = tokenizer.build()
    model = begin(settings, words)
    where = device()
    model.to(where)
    # Compiling takes a minute: little beside a CPU's hours, much beside a GPU's minutes.
    forward: Any = torch.compile(model.model, dynamic=False) if where == "cpu" else model.model
    for term in (0, 1):
        if settings.tokens[term]:
            study(model, forward, words, settings, term)
    model.to(torch.bfloat16).save_pretrained(settings.out)
    words.save_pretrained(settings.out)


def study(model: Any, forward: Any, words: PreTrainedTokenizerFast, settings: Settings, term: int) -> None:
    """One term of training. `forward` is the model's body, perhaps compiled."""
    where = model.device
    spotter = torch.nn.Linear(settings.width, 1, device=where)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in (*model.parameters(), *spotter.parameters()) if id(p) not in chosen]
    rates = settings.muon_rate[term], settings.adam_rate[term]
    optimizers = [
        torch.optim.Muon(matrices, lr=rates[0], weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=rates[1], betas=(0.9, 0.95), weight_decay=0.0),
    ]
    judge = torch.tensor(single_token(words, tokenizer.JUDGE), device=where)
    began, step, tokens = time.monotonic(), 0, 0
    sums = torch.zeros(4)
    for batch in DataLoader(Batches(settings, words, term), batch_size=None, num_workers=settings.workers):
        left = 1 - tokens / settings.tokens[term]
        if left <= 0:
            break
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 100) * left
        ids, targets, flaws = (part.to(where) for part in batch)
        wanted, watched = targets != IGNORE, flaws != IGNORE
        judged = ids[wanted] == judge
        with torch.autocast(where.type, torch.bfloat16, enabled=bfloat16_is_fast(where)):
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
        loss.backward()
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
                f"term {term + 1}  step {step}  {took / 60:.1f} min  {tokens / took / 1e3:.1f}k tokens/s  "
                f"solution loss {sums[0] / sums[1]:.4f}  critique loss {sums[2] / sums[3]:.4f}",
                flush=True,
            )
            sums.zero_()


if __name__ == "__main__":
    train(tyro.cli(Settings))
