"""Trains the bundled policy from scratch on Quantities, in about an hour on two CPU cores.

    python -m recipes.bundled_policy --out src/stepmark/policies/bundled

A Llama of 10 layers and width 128. Two thirds of its documents are problems with their solutions; as in the MathMix of
Let's Verify Step by Step (arXiv 2305.20050, appendix A) about a third are critiques: right and wrong solutions in which
every step is followed by `<|judge|>`, whose next token is " +" or " -". The marks themselves are never input, so no
judgement sees an earlier one. Matrices are trained with Muon, the rest with AdamW, both decaying linearly to zero.
"""

import itertools
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from recipes import critiques, tokenizer
from stepmark import steps
from stepmark.problems import quantities

IGNORE = -100


@dataclass(frozen=True)
class Settings:
    """Trains the bundled policy from scratch on Quantities."""

    out: Path
    """directory that receives the model and its tokenizer"""
    minutes: float = 50
    """training time; the learning rates reach zero at its end"""
    layers: int = 10
    width: int = 128
    feedforward: int = 384
    heads: int = 4
    batch_tokens: int = 8192
    critique_share: float = 1 / 3
    mark_weight: float = 3.0
    """weight of a judgement's loss beside that of a token of a solution"""
    muon_rate: float = 0.008
    adam_rate: float = 3e-3
    weight_decay: float = 0.01
    seed: int = 1


Document = tuple[list[int], list[int]]
"""token ids and, at each position, the id of the next token where it is trained, else IGNORE"""


def documents(settings: Settings, words: PreTrainedTokenizerFast, hardest: Callable[[], int]) -> Iterator[Document]:
    """Endless training documents: problems of the train split up to the level `hardest()`, each once."""
    rng = random.Random(settings.seed)
    judge, right, wrong = words.convert_tokens_to_ids([tokenizer.JUDGE, tokenizer.RIGHT, tokenizer.WRONG])

    def encode(text: str) -> list[int]:
        return words.encode(text, add_special_tokens=False)

    for index in itertools.count():
        problem = quantities.problem("train", settings.seed, index, rng.randint(1, hardest()))
        ids = [words.bos_token_id, *encode(problem.question + steps.SEPARATOR)]
        if rng.random() >= settings.critique_share:
            solution = [*encode(steps.join(quantities.solve(problem))), words.eos_token_id]
            targets = [IGNORE] * (len(ids) - 1) + solution + [IGNORE]
            yield ids + solution, targets
            continue
        written = critiques.misread(problem, rng) if rng.random() < 0.5 else critiques.corrupt(problem, rng)
        targets = [IGNORE] * len(ids)
        for step, rating in zip(written, quantities.rate(problem, written), strict=True):
            line = encode(step + steps.SEPARATOR)
            ids += [*line, judge]
            targets += [IGNORE] * len(line) + [wrong if rating < 0 else right]
        yield ids, targets


def batches(
    settings: Settings, words: PreTrainedTokenizerFast, hardest: Callable[[], int]
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Documents of like length together, in lengths that are multiples of 64 (few shapes, little padding)."""
    waiting: dict[int, list[Document]] = {}
    for document in documents(settings, words, hardest):
        length = -(-len(document[0]) // 64) * 64
        bucket = waiting.setdefault(length, [])
        bucket.append(document)
        if len(bucket) * length >= settings.batch_tokens:
            ids = torch.full((len(bucket), length), words.pad_token_id)
            targets = torch.full((len(bucket), length), IGNORE)
            for row, (its_ids, its_targets) in enumerate(bucket):
                ids[row, : len(its_ids)] = torch.tensor(its_ids)
                targets[row, : len(its_targets)] = torch.tensor(its_targets)
            waiting[length] = []
            yield ids, targets


def share_twins(model: LlamaForCausalLM, words: PreTrainedTokenizerFast) -> None:
    """Let a piece with and without its leading space begin as nearly the same vector: they mean the same."""
    rows = model.get_input_embeddings().weight.data
    vocabulary = words.get_vocab()
    for piece, row in vocabulary.items():
        if (" " + piece) in vocabulary:
            rows[vocabulary[" " + piece]] = rows[row] + 0.3 * rows[vocabulary[" " + piece]]


def train(settings: Settings) -> None:
    torch.manual_seed(settings.seed)
    words = tokenizer.build()
    model = LlamaForCausalLM(
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
            attn_implementation="eager",  # its backward is much faster than the fused one on a CPU
        )
    )
    share_twins(model, words)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model.to(device)
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizers = [
        torch.optim.Muon(
            matrices, lr=settings.muon_rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw"
        ),
        torch.optim.AdamW(rest, lr=settings.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]
    rates = [optimizer.param_groups[0]["lr"] for optimizer in optimizers]
    forward = torch.compile(model.model, dynamic=False)
    judge = words.convert_tokens_to_ids(tokenizer.JUDGE)
    began, step, tokens = time.monotonic(), 0, 0
    sums = torch.zeros(4)

    def spent() -> float:
        """The share of the training time that is over."""
        return (time.monotonic() - began) / (60 * settings.minutes)

    def hardest() -> int:
        """Levels 1 to 6, the harder ones from the time on that the easier ones have had."""
        return min(6, 2 + int(spent() * 20))

    for batch in batches(settings, words, hardest):
        if spent() >= 1:
            break
        for optimizer, rate in zip(optimizers, rates, strict=True):
            optimizer.param_groups[0]["lr"] = rate * min(1, (step + 1) / 100) * (1 - spent())
        ids, targets = (part.to(device) for part in batch)
        wanted = targets != IGNORE
        judged = ids[wanted] == judge
        with torch.autocast(device, torch.bfloat16):
            hidden = forward(input_ids=ids, use_cache=False).last_hidden_state
            logits = model.lm_head(hidden[wanted])
        losses = torch.nn.functional.cross_entropy(logits.float(), targets[wanted], reduction="none")
        weights = torch.where(judged, settings.mark_weight, 1.0)
        (losses * weights).sum().div(weights.sum()).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in optimizers:
            optimizer.step()
        model.zero_grad()
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
        if step % 500 == 0:
            torch.save(model.state_dict(), "/tmp/ckpt.pt")
    model.config._attn_implementation = "sdpa"
    model.to(torch.bfloat16).save_pretrained(settings.out)
    words.save_pretrained(settings.out)


if __name__ == "__main__":
    train(tyro.cli(Settings))
