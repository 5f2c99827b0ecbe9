"""What a pass over the examples gave: losses, and how well the held-out solutions are judged."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import TrainerState

from stepmark.rewards.auc import auc, within_problem_auc
from stepmark.rewards.dataset import Item
from stepmark.rewards.model import RewardNet
from stepmark.rewards.settings import Train


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one pass over the examples gave. Held-out figures are of the scores at step ends that have a target, an
    ORM's of its last score; they are None without held-out problems or, for AUC, where all targets are alike."""

    train_loss: float
    held_out_loss: float | None
    auc: float | None
    """over all held-out steps; a step is right where its target is above 0"""
    within_problem_auc: float | None
    """mean over held-out problems. A high `auc` beside one of .5 here means that the model knows which problems are
    hard and nothing of which solution is right"""
    figures: dict[str, float | None]
    """what `train`'s `measure` said of the held-out solutions"""


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A held-out solution and its scores after an epoch."""

    problem_id: str
    scores: tuple[float, ...]
    right: tuple[bool | None, ...]
    """of each step (of an ORM's last: the solution); None where it has no target"""
    outcome: float | None
    """whether the solution is right, where the example says so"""


Measure = Callable[[Sequence[HeldOut]], Mapping[str, float | None]]
"""figures of the held-out solutions, such as `stepmark.evaluate.held_out.figures`"""


def measured(net: RewardNet, items: Sequence[Item], settings: Train, measure: Measure | None) -> dict[str, Any]:
    """Loss, AUC and AUC within problems over the steps that have a target, and what `measure` says."""
    if not items:
        return {"loss": None, "auc": None, "within": None, "figures": {}}
    least = 0 if settings.classes == 2 or settings.neutral == "wrong" else -1
    judged, losses = [], []
    by_length = sorted(items, key=lambda item: len(item.encoded.ids_T))
    net.eval()
    size = settings.batch_size // settings.accumulate
    for batch in (by_length[first : first + size] for first in range(0, len(items), size)):
        for item, logits_S_C in zip(batch, net.read([item.encoded for item in batch]), strict=True):
            known = [step for step, target in enumerate(item.targets) if target is not None]
            targets = torch.tensor([float(item.targets[step] or 0) for step in known], device=logits_S_C.device)
            losses += net.losses(logits_S_C[known], targets).tolist()
            right = tuple(None if target is None else target > least for target in item.targets)
            judged.append(HeldOut(item.problem_id, tuple(net.score(logits_S_C).tolist()), right, item.outcome))
    net.train()
    flat = [
        (score, right, one.problem_id)
        for one in judged
        for score, right in zip(one.scores, one.right, strict=True)
        if right is not None
    ]
    scores, rights, problems = zip(*flat, strict=True)
    return {
        "loss": statistics.fmean(losses),
        "auc": auc(scores, rights),
        "within": within_problem_auc(scores, rights, problems),
        "figures": dict(measure(judged)) if measure is not None else {},
    }


def told(epochs: Sequence[Epoch]) -> str:
    """The last of the epochs in a line."""
    last = epochs[-1]
    figures = {"held-out loss": last.held_out_loss, "AUC": last.auc, "within a problem": last.within_problem_auc}
    known = [f"{name} {value:.4f}" for name, value in (figures | last.figures).items() if value is not None]
    return f"epoch {len(epochs)}: " + ", ".join([f"train loss {last.train_loss:.4f}", *known])


def epochs_of(state: TrainerState) -> tuple[tuple[Epoch, ...], tuple[float, ...]]:
    """What the log says of each epoch, and the loss of each update."""
    epochs, losses, first = [], [], 0
    for entry in state.log_history:
        if "loss" in entry:
            losses.append(float(entry["loss"]))
        elif "held_out" in entry:
            said: Any = entry["held_out"]
            train_loss = statistics.fmean(losses[first:])
            epochs.append(Epoch(train_loss, said["loss"], said["auc"], said["within"], said["figures"]))
            first = len(losses)
    return tuple(epochs), tuple(losses)
