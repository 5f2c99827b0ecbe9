"""The solutions of a training: encoded, split by problem, brought into order, padded to batches."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler

from stepmark.errors import InputError, TooLongError
from stepmark.rewards.examples import IGNORED, Encoded, Encoder, Example, Kind, parts, step_targets, token_labels
from stepmark.rewards.settings import Train


@dataclass(frozen=True, slots=True)
class Item:
    """A solution as the model sees it, with its targets."""

    problem_id: str
    encoded: Encoded
    targets: tuple[float | None, ...]
    outcome: float | None


def encode(kind: Kind, examples: Sequence[Example], encoder: Encoder, settings: Train) -> list[Item]:
    """The examples, without those that are too long where `too_long` says so. Raises `InputError` (`TooLongError`)."""
    items = []
    for example in examples:
        targets = step_targets(example, kind, past_first_error=settings.past_first_error, classes=settings.classes)
        try:
            encoded = encoder.encode(example.problem, example.steps)
        except TooLongError:
            if settings.too_long == "error":
                raise
            continue
        items.append(Item(example.problem.id, encoded, targets, example.outcome))
    return items


def split(items: Sequence[Item], settings: Train) -> tuple[list[Item], list[Item]]:
    """Trained and held-out items; a problem's solutions are all on one side."""
    problems = sorted({item.problem_id for item in items})
    random.Random(settings.seed).shuffle(problems)
    count = max(1, round(settings.held_out * len(problems))) if settings.held_out > 0 else 0
    if len(problems) <= count:
        raise InputError(
            f"{len(problems)} problems with usable solutions: nothing is left to train on when {count} are held out",
            remedy="give more problems, or set held_out to 0",
        )
    chosen = set(problems[:count])
    return [i for i in items if i.problem_id not in chosen], [i for i in items if i.problem_id in chosen]


def row(item: Item, kind: Kind, *, every_token: bool) -> dict[str, Tensor]:
    """What the model is given of a solution: its tokens, and of each the label and what it is a part of."""
    labels_T = token_labels(item.encoded, item.targets, every_token=every_token)
    return {
        "input_ids": torch.tensor(item.encoded.ids_T),
        "labels": torch.tensor(labels_T),
        "parts": torch.tensor(parts(item.encoded, kind)),
    }


class ByLength(Sampler[int]):
    """Solutions of similar length in one batch, the batches in random order: longest with longest of some fifty batches
    that are drawn at random. The order is that of (seed, epoch) alone, so that a resumed training has it too."""

    def __init__(self, lengths: Sequence[int], batch: int, seed: int, epoch: Callable[[], int]) -> None:
        self._lengths = lengths
        self._batch = batch
        self._seed = seed
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        draw = random.Random(f"{self._seed} {self._epoch()}")
        order = list(range(len(self._lengths)))
        draw.shuffle(order)
        size = 50 * self._batch
        chunks = [order[first : first + size] for first in range(0, len(order), size)]
        ordered = [one for chunk in chunks for one in sorted(chunk, key=lambda one: -self._lengths[one])]
        batches = [ordered[first : first + self._batch] for first in range(0, len(ordered), self._batch)]
        last = batches.pop() if len(batches[-1]) < self._batch else []  # a batch that is not full stays the last
        draw.shuffle(batches)
        return iter([one for batch in (*batches, last) for one in batch])


def collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Pads on the right, where a causal model does not look; the id there does not matter."""
    return {
        "input_ids": pad_sequence([row["input_ids"] for row in rows], batch_first=True),
        "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=IGNORED),
        "parts": pad_sequence([row["parts"] for row in rows], batch_first=True),
    }
