"""Training an outcome or a process reward model on `transformers.Trainer`.

Not covered here: three-class targets, squared error, LoRA, resuming a training.
"""

import random
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from stepmark import __version__
from stepmark.errors import InputError, TooLongError
from stepmark.rewards.auc import auc, within_problem_auc
from stepmark.rewards.examples import IGNORED, Encoded, Encoder, Example, Kind, Layout, step_targets, token_labels
from stepmark.rewards.model import RewardNet, Spec, build, load_lm, save
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


@dataclass(frozen=True, slots=True)
class TrainResult:
    path: Path
    epochs: tuple[Epoch, ...]
    trained: int
    """solutions"""
    held_out: int
    """solutions, of problems that no trained solution belongs to"""
    dropped: int
    """solutions left out because they are too long"""
    labels: int
    """trained steps (PRM) or solutions (ORM)"""
    mean_label: float
    """mean of their targets, the class balance where they are hard: reported, never changed"""
    tokens: int
    """tokens of the trained solutions, once"""
    seconds: float


@dataclass(frozen=True, slots=True)
class _Item:
    problem_id: str
    encoded: Encoded
    targets: tuple[float | None, ...]


def train(kind: Kind, examples: Sequence[Example], base: str | Path, out: str | Path, settings: Train) -> TrainResult:
    """Trains a reward model from the language model in directory `base` and writes it to the directory `out`, which
    must not exist yet. `orm` learns the examples' outcomes, `prm` their step targets. The same examples, base, settings
    and number of threads give the same weights.

    The loss is the mean binary cross-entropy over a batch's labelled tokens; targets may lie between 0 and 1.
    The global random state of torch is set to the seed.

    Raises:
        InputError: `out` exists, the base lacks a part, or an example cannot be used; nothing is written.
    """
    begin = time.perf_counter()
    out = Path(out)
    _check(settings)
    if out.exists():
        raise InputError("exists already", path=out, remedy="choose another directory, or remove this one")
    lm, tokenizer = load_lm(base)
    if not torch.cuda.is_available():
        lm.set_attn_implementation("eager")  # backward on a CPU takes half the time of the fused kernel's
    limit = settings.max_tokens or getattr(lm.config.get_text_config(), "max_position_embeddings", None)
    if limit is None:
        raise InputError("the model does not say how many positions it has", path=base, remedy="set max_tokens")
    spec = Spec(
        kind=kind,
        head=settings.head,
        layout=Layout(max_tokens=limit, marker=settings.marker),
        plus=settings.plus,
        minus=settings.minus,
        aggregate=settings.aggregate if kind == "prm" else "last",
        label_source=settings.label_source,
        stepmark=__version__,
        training=asdict(settings),
    )
    net = build(lm, tokenizer, spec)
    items = _encode(kind, examples, Encoder(tokenizer, spec.layout), settings)
    training, held_out = _split(items, settings)
    epochs = _fit(net, training, held_out, settings, every_token=kind == "orm" and settings.every_token)
    save(net, tokenizer, spec, out)
    labels = [target for item in training for target in item.targets if target is not None]
    return TrainResult(
        path=out,
        epochs=epochs,
        trained=len(training),
        held_out=len(held_out),
        dropped=len(examples) - len(items),
        labels=len(labels),
        mean_label=sum(labels) / len(labels),
        tokens=sum(len(item.encoded.ids_T) for item in training),
        seconds=time.perf_counter() - begin,
    )


def _check(settings: Train) -> None:
    if settings.epochs < 1 or settings.batch_size < 1 or settings.learning_rate <= 0:
        raise InputError("epochs, batch_size and learning_rate must be above 0", remedy="raise them")
    if not 0 <= settings.held_out < 1 or not 0 <= settings.warmup < 1 or settings.weight_decay < 0:
        raise InputError("held_out and warmup are shares below 1, weight_decay is not negative", remedy="correct them")


def _encode(kind: Kind, examples: Sequence[Example], encoder: Encoder, settings: Train) -> list[_Item]:
    items = []
    for example in examples:
        targets = step_targets(example, kind, past_first_error=settings.past_first_error)
        try:
            encoded = encoder.encode(example.problem, example.steps)
        except TooLongError:
            if settings.too_long == "error":
                raise
            continue
        items.append(_Item(example.problem.id, encoded, targets))
    return items


def _split(items: Sequence[_Item], settings: Train) -> tuple[list[_Item], list[_Item]]:
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


def _fit(
    net: RewardNet, training: list[_Item], held_out: list[_Item], settings: Train, *, every_token: bool
) -> tuple[Epoch, ...]:
    rows = [
        {
            "input_ids": torch.tensor(item.encoded.ids_T),
            "labels": torch.tensor(token_labels(item.encoded, item.targets, every_token=every_token)),
        }
        for item in training
    ]
    console = Console(stderr=True)
    with (
        tempfile.TemporaryDirectory() as scratch,  # the Trainer wants a folder
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
    ):
        watch = _Watch(net, held_out, progress)
        trainer = Trainer(
            model=net,
            args=TrainingArguments(
                output_dir=scratch,
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size,
                train_sampling_strategy="group_by_length",
                warmup_steps=settings.warmup,
                weight_decay=settings.weight_decay,
                bf16=settings.bf16,
                use_cpu=not torch.cuda.is_available(),
                seed=settings.seed,
                logging_strategy="epoch",
                save_strategy="no",
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=rows,
            data_collator=_collate,
            callbacks=[watch],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    net.eval()
    losses = [float(entry["loss"]) for entry in trainer.state.log_history if "loss" in entry]
    return tuple(Epoch(loss, *measured) for loss, measured in zip(losses, watch.measured, strict=True))


class _Watch(TrainerCallback):
    """Shows progress, and measures the held-out solutions after each epoch."""

    def __init__(self, net: RewardNet, held_out: Sequence[_Item], progress: Progress) -> None:
        self.measured: list[tuple[float | None, float | None, float | None]] = []
        self._net = net
        self._held_out = held_out
        self._progress = progress
        self._bar = progress.add_task("training the reward model", total=None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._progress.update(self._bar, completed=state.global_step, total=state.max_steps)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.measured.append(_measure(self._net, self._held_out, args.per_device_train_batch_size))


def _measure(
    net: RewardNet, items: Sequence[_Item], batch_size: int
) -> tuple[float | None, float | None, float | None]:
    """Loss, AUC and AUC within problems of the scores that have a target."""
    if not items:
        return None, None, None
    logits: list[float] = []
    targets: list[float] = []
    problems: list[str] = []
    by_length = sorted(items, key=lambda item: len(item.encoded.ids_T))
    net.eval()
    for batch in (by_length[first : first + batch_size] for first in range(0, len(items), batch_size)):
        for item, logits_S in zip(batch, net.judge([item.encoded for item in batch]), strict=True):
            for logit, target in zip(logits_S, item.targets, strict=True):
                if target is not None:
                    logits.append(logit)
                    targets.append(target)
                    problems.append(item.problem_id)
    net.train()
    right = [target > 0 for target in targets]
    loss = float(binary_cross_entropy_with_logits(torch.tensor(logits), torch.tensor(targets)))
    return loss, auc(logits, right), within_problem_auc(logits, right, problems)


def _collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Pads on the right, where a causal model does not look; the id there does not matter."""
    return {
        "input_ids": pad_sequence([row["input_ids"] for row in rows], batch_first=True),
        "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=IGNORED),
    }
