"""Fine-tunes a policy to revise: to write a right solution with its earlier, wrong ones in sight (Snell et al. 2024,
arXiv 2408.03314, section 6.1).

    python -m recipes.revision_policy --out runs/revision
    stepmark search --strategy revise --n 16 --chains 4 --context 2 --max-tokens 160 --policy runs/revision/model ...

The policy draws solutions of problems of the train split, and the grader tells right answers from wrong ones; no oracle
rates steps. A right solution is the target of a trajectory: before it stand 0 to `--attempts` wrong ones of the same
problem, so many as a lot says. The last of them is the one with the least edit distance to the target in characters, so
that there is something to learn from it; the others are drawn at random. Trajectories are written as
`stepmark.search.revise.asks` shows attempts to a policy, and only the target is learned.

A trajectory that does not fit into the model's positions loses its earliest attempts. As in the paper, a problem with
no right solution teaches nothing, and no trajectory has a right attempt before its target: the policy learns to change
what it sees, right answers too. The paper trains longer than the loss on held-out trajectories falls, which come from
the policy before training; here the number of epochs is a setting.

Solutions are on record in the run `--out` and are not drawn again; the training begins anew.
"""

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import tyro
from transformers import AutoModelForCausalLM, AutoTokenizer

from recipes.bundled_policy import IGNORE, padded
from stepmark.errors import InputError
from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.draw import draw
from stepmark.policies.local import LocalPolicy
from stepmark.policies.tokens import plain_prompt
from stepmark.precision import bfloat16_is_fast, device
from stepmark.problems import quantities
from stepmark.records import Run
from stepmark.search.revise import asks
from stepmark.steps import join
from stepmark.types import Problem, Sampling, Solution

SEED = 3_000
"""of the problems: others than those of the bundled policy and reward model"""


@dataclass(frozen=True)
class Drawing:
    """What the solutions on record depend on."""

    policy: str
    solutions: int
    max_tokens: int
    seed: int


@dataclass(frozen=True)
class Settings:
    """Fine-tunes a policy to revise its earlier attempts; the model is `--out`/model."""

    out: Path
    """directory of the run: the solutions on record and, in model, what was trained"""
    policy: Path = bundled.PATH
    """the model to begin with"""
    problems: int = 3000
    solutions: int = 16
    """drawn of each problem"""
    max_tokens: int = 160
    """of a solution"""
    targets: int = 8
    """right solutions of a problem, at most, each of which ends a trajectory"""
    attempts: int = 2
    """before the target, at most: the `--context` to search with"""
    epochs: int = 2
    learning_rate: float = 5e-4
    """falls linearly to zero"""
    batch_tokens: int = 8192
    """of an update, padding included"""
    held_out: float = 0.05
    """share of the problems whose trajectories measure the loss"""
    seed: int = 0


@dataclass(frozen=True)
class Trajectory:
    """Wrong attempts, and the right one that follows them."""

    problem: Problem
    attempts: tuple[tuple[str, ...], ...]
    target: Solution


Row = tuple[list[int], list[int]]
"""token ids, and at each position the id of the next token where it belongs to the target, else IGNORE"""


def trajectories(
    problem: Problem, solutions: Sequence[Solution], targets: int, attempts: int, rng: random.Random
) -> list[Trajectory]:
    """`targets` of the right solutions, each after 0 to `attempts` wrong ones, fewer where there are not as many. Both
    come as often as they were drawn, but no trajectory comes twice. An answer that could not be graded is neither."""
    verdicts = [(one, grade(problem, one.answer).value) for one in solutions]
    right = [one for one, verdict in verdicts if verdict == "correct" and one.finish == "stop"]
    wrong = [one.steps for one, verdict in verdicts if verdict == "incorrect" and one.finish == "stop"]
    found: dict[tuple[tuple[str, ...], ...], Trajectory] = {}
    for target in rng.sample(right, min(targets, len(right))):
        shown: list[tuple[str, ...]] = []
        if count := min(rng.randint(0, attempts), len(wrong)):
            text = join(target.steps)
            nearest = min(dict.fromkeys(wrong), key=lambda steps: edit_distance(join(steps), text))
            others = list(wrong)
            others.remove(nearest)
            shown = [*rng.sample(others, count - 1), nearest]
        found.setdefault((*shown, target.steps), Trajectory(problem, tuple(shown), target))
    return list(found.values())


def edit_distance(one: str, other: str) -> int:
    """Levenshtein distance in characters: a column of the table at a time, its differences in the bits of two integers
    (Myers 1999; Hyyrö 2003)."""
    full = (1 << len(one)) - 1
    places: dict[str, int] = {}
    for at, character in enumerate(one):
        places[character] = places.get(character, 0) | 1 << at
    up, down, distance = full, 0, len(one)
    for character in other:
        equal = places.get(character, 0)
        diagonal = (((equal & up) + up) ^ up) | equal | down
        rises, falls = down | ~(diagonal | up) & full, up & diagonal
        distance += (rises >> len(one) - 1 & 1) - (falls >> len(one) - 1 & 1) if one else 1
        rises, falls = rises << 1 | 1, falls << 1
        up, down = (falls | ~(diagonal | rises)) & full, rises & diagonal & full
    return distance


def row(trajectory: Trajectory, words: Any, positions: int) -> Row:
    """A trajectory in tokens, without its earliest attempts where it would not fit."""
    target = list(trajectory.target.token_ids)
    for first in range(len(trajectory.attempts) + 1):
        prompt = plain_prompt(words, asks(trajectory.problem, trajectory.attempts[first:]))
        if len(prompt) + len(target) <= positions:
            return prompt + target, [IGNORE] * (len(prompt) - 1) + target + [IGNORE]
    raise InputError(f"problem {trajectory.problem.id} and its solution exceed {positions} tokens")


def batches(
    rows: Sequence[Row], size: int, pad: int, rng: random.Random
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """One epoch: rows of like length together, in lengths that are multiples of 64, up to `size` tokens a batch."""
    waiting: dict[int, list[Row]] = {}
    full: list[tuple[int, list[Row]]] = []
    for one in rng.sample(rows, len(rows)):
        length = -(-len(one[0]) // 64) * 64
        bucket = waiting.setdefault(length, [])
        bucket.append(one)
        if (len(bucket) + 1) * length > size:
            full.append((length, waiting.pop(length)))
    full += waiting.items()
    for length, bucket in rng.sample(full, len(full)):
        ids, targets = padded(bucket, length, (pad, IGNORE)).unbind(1)
        yield ids, targets


def loss(model: Any, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over the tokens of the targets."""
    ids, targets = ids.to(model.device), targets.to(model.device)
    wanted = targets != IGNORE
    with torch.autocast(model.device.type, torch.bfloat16, enabled=bfloat16_is_fast(model.device)):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state
        logits = model.lm_head(hidden[wanted])
    return torch.nn.functional.cross_entropy(logits.float(), targets[wanted])


def tune(
    model: Any,
    rows: list[Row],
    held_out: list[Row],
    *,
    epochs: int,
    learning_rate: float,
    batch_tokens: int,
    pad: int,
    seed: int,
) -> None:
    """Trains the model in place, with AdamW; the rate falls linearly to zero."""
    rng = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, betas=(0.9, 0.95), weight_decay=0.01)
    every = [list(batches(rows, batch_tokens, pad, rng)) for _ in range(epochs)]
    updates, step, tokens, began = sum(map(len, every)), 0, 0, time.monotonic()
    model.train()
    for epoch, some in enumerate(every, 1):
        total = torch.zeros((), device=model.device)
        for ids, targets in some:
            rate = min((step + 1) / 20, 1 - step / updates)
            optimizer.param_groups[0]["lr"] = learning_rate * rate
            lost = loss(model, ids, targets)
            lost.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            total += lost.detach()
            step, tokens = step + 1, tokens + ids.numel()
            if step % 20 == 0:
                pace = tokens / (time.monotonic() - began)
                print(f"update {step} of {updates}  {pace / 1e3:.1f}k tokens/s  loss {lost.item():.4f}", flush=True)
        with torch.no_grad():
            held = [loss(model, *batch).item() for batch in batches(held_out, batch_tokens, pad, rng)]
        shown = f"{sum(held) / len(held):.4f}" if held else "none"
        print(f"epoch {epoch}: loss {total.item() / len(some):.4f}, held out {shown}", flush=True)


def main(settings: Settings) -> None:
    problems = list(quantities.generate("train", settings.problems, seed=SEED + settings.seed))
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    drawing = Drawing(str(settings.policy), settings.solutions, settings.max_tokens, settings.seed)
    with Run.open(settings.out, drawing, compressed=True) as run:
        policy = LocalPolicy.load(settings.policy, dtype="float32")
        drawn = asyncio.run(draw(run, problems, policy, settings.solutions, sampling))
        policy.close()
    rng = random.Random(settings.seed)
    words = AutoTokenizer.from_pretrained(settings.policy)
    model: Any = AutoModelForCausalLM.from_pretrained(settings.policy, dtype=torch.float32)
    model.to(device())
    found = [
        trajectories(problem, solutions, settings.targets, settings.attempts, rng)
        for problem, solutions in zip(problems, drawn, strict=True)
    ]
    rows = [[row(one, words, model.config.max_position_embeddings) for one in some] for some in found]
    held = round(len(rows) * settings.held_out)
    held_out, learned = ([one for some in part for one in some] for part in (rows[:held], rows[held:]))
    if not learned:
        raise InputError("no right solution was drawn", remedy="more --problems or --solutions")
    revising = sum(bool(one.attempts) for some in found for one in some)
    print(
        f"{len(learned):,} trajectories to learn from, {len(held_out):,} held out, "
        f"{revising / (len(learned) + len(held_out)):.0%} with earlier attempts; "
        f"{sum(len(ids) for ids, _ in learned):,} tokens an epoch",
        flush=True,
    )
    tune(
        *(model, learned, held_out),
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_tokens=settings.batch_tokens,
        pad=words.pad_token_id,
        seed=settings.seed,
    )
    model.to(torch.bfloat16).save_pretrained(settings.out / "model")
    words.save_pretrained(settings.out / "model")
    print(settings.out / "model")


if __name__ == "__main__":
    main(tyro.cli(Settings))
