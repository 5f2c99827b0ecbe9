"""Training an outcome or a process reward model on `transformers.Trainer`.

While it runs, checkpoints and the loss of every update stand in `OUT.training`; a training that was killed goes on from
the last checkpoint to the weights and losses of one that was not. The folder is removed once the model is written.

Not covered here: more than one process (FSDP).
"""

import hashlib
import json
import random
import shutil
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Sampler
from transformers import (
    PreTrainedModel,
    PrinterCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from stepmark import __version__
from stepmark.errors import InputError, TooLongError
from stepmark.records import replacing
from stepmark.rewards.auc import auc, within_problem_auc
from stepmark.rewards.examples import IGNORED, Encoded, Encoder, Example, Kind, Layout, step_targets, token_labels
from stepmark.rewards.model import RewardNet, Spec, build, load_lm, save
from stepmark.rewards.settings import Train

FINGERPRINT = "training.json"
WEIGHTS = "pytorch_model.bin"
"""of a checkpoint, where Trainer looks for them"""


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


@dataclass(frozen=True, slots=True)
class TrainResult:
    path: Path
    epochs: tuple[Epoch, ...]
    losses: tuple[float, ...]
    """of every update, in order: the mean over its labelled tokens"""
    kept: int
    """the epoch whose weights were written, counted from 1"""
    trained: int
    """solutions"""
    held_out: int
    """solutions, of problems that no trained solution belongs to"""
    dropped: int
    """solutions left out because they are too long"""
    labels: int
    """trained steps (PRM) or solutions (ORM)"""
    mean_label: float
    """mean of their targets"""
    balance: dict[float, int] | None
    """labels of each value, where there are three values at most: the class balance, reported and never changed"""
    tokens: int
    """tokens of the trained solutions, once"""
    seconds: float
    """of this start"""


@dataclass(frozen=True, slots=True)
class _Item:
    problem_id: str
    encoded: Encoded
    targets: tuple[float | None, ...]
    outcome: float | None


def train(
    kind: Kind,
    examples: Sequence[Example],
    base: str | Path,
    out: str | Path,
    settings: Train,
    *,
    measure: Measure | None = None,
) -> TrainResult:
    """Trains a reward model from the language model in directory `base` and writes it to the directory `out`, which
    must not exist yet. `orm` learns the examples' outcomes, `prm` their step targets. The same examples, base, settings
    and number of threads give the same weights, killed and called again or not.

    The loss is the mean over an update's labelled tokens of the cross-entropy with the target, a probability or one of
    three classes, or of the squared error. After every epoch the held-out solutions are measured, by `measure` too.
    The global random state of torch is set to the seed.

    Raises:
        InputError: `out` exists, the base lacks a part, an example cannot be used, or an unfinished training of other
            examples or settings is in the way; nothing is written.
    """
    begin = time.perf_counter()
    out = Path(out)
    _check(kind, settings)
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
        classes=settings.classes,
        zero=settings.zero,
        neutral="right" if settings.neutral == "right" else "wrong",
    )
    net = build(lm, tokenizer, spec)
    items = _encode(kind, examples, Encoder(tokenizer, spec.layout), settings)
    training, held_out = _split(items, settings)
    rows = [
        {
            "input_ids": torch.tensor(item.encoded.ids_T),
            "labels": torch.tensor(
                token_labels(item.encoded, item.targets, every_token=kind == "orm" and settings.every_token)
            ),
        }
        for item in training
    ]
    scratch = out.with_name(out.name + ".training")
    checkpoint = _resume(scratch, _fingerprint(spec, base, rows))
    adapted = _adapted(lm, settings.lora) if settings.lora else None
    state = _fit(net, rows, held_out, settings, scratch=scratch, checkpoint=checkpoint, measure=measure)
    if adapted is not None:
        adapted.merge_and_unload()
    save(net, tokenizer, spec, out)
    shutil.rmtree(scratch)
    epochs, losses = _epochs(state)
    best = min(range(len(epochs)), key=lambda index: epochs[index].held_out_loss or 0.0)
    labels = [target for item in training for target in item.targets if target is not None]
    counts = Counter(labels)
    return TrainResult(
        path=out,
        epochs=epochs,
        losses=losses,
        kept=best + 1 if settings.patience else len(epochs),
        trained=len(training),
        held_out=len(held_out),
        dropped=len(examples) - len(items),
        labels=len(labels),
        mean_label=sum(labels) / len(labels),
        balance=dict(sorted(counts.items())) if len(counts) <= 3 else None,
        tokens=sum(len(item.encoded.ids_T) for item in training),
        seconds=time.perf_counter() - begin,
    )


def _check(kind: Kind, settings: Train) -> None:
    if settings.epochs < 1 or settings.batch_size < 1 or settings.learning_rate <= 0:
        raise InputError("epochs, batch_size and learning_rate must be above 0", remedy="raise them")
    if not 0 <= settings.held_out < 1 or not 0 <= settings.warmup < 1 or settings.weight_decay < 0:
        raise InputError("held_out and warmup are shares below 1, weight_decay is not negative", remedy="correct them")
    if settings.accumulate < 1 or settings.batch_size % settings.accumulate:
        raise InputError(f"a batch of {settings.batch_size} is not {settings.accumulate} equal parts")
    if min(settings.lora, settings.patience, settings.checkpoint_every) < 0:
        raise InputError("lora, patience and checkpoint_every are not negative", remedy="0 turns them off")
    if settings.patience and (settings.held_out == 0 or settings.checkpoint_every):
        raise InputError(
            "patience compares epochs by their held-out loss", remedy="hold problems out, and leave checkpoint_every 0"
        )
    if settings.classes == 3 and (kind == "orm" or settings.loss == "squared_error" or settings.neutral == "unrated"):
        raise InputError(
            "three classes are those of a PRM's steps, learnt by cross-entropy; a neutral one counts as right or wrong",
            remedy="train two classes",
        )


def _encode(kind: Kind, examples: Sequence[Example], encoder: Encoder, settings: Train) -> list[_Item]:
    items = []
    for example in examples:
        targets = step_targets(example, kind, past_first_error=settings.past_first_error, classes=settings.classes)
        try:
            encoded = encoder.encode(example.problem, example.steps)
        except TooLongError:
            if settings.too_long == "error":
                raise
            continue
        items.append(_Item(example.problem.id, encoded, targets, example.outcome))
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


def _fingerprint(spec: Spec, base: str | Path, rows: Sequence[dict[str, Tensor]]) -> str:
    """What a training depends on, in short: one that goes on must be the same."""
    digest = hashlib.sha256(repr(asdict(spec)).encode())
    for file in sorted(Path(base).glob("*.safetensors")):
        digest.update(repr((file.name, file.stat().st_size, file.stat().st_mtime_ns)).encode())
    for row in rows:
        digest.update(repr((row["input_ids"].tolist(), row["labels"].tolist())).encode())
    return digest.hexdigest()


def _resume(scratch: Path, fingerprint: str) -> Path | None:
    """The newest whole checkpoint of this training in `scratch`; None: it begins."""
    file = scratch / FINGERPRINT
    if not file.is_file():
        scratch.mkdir(parents=True, exist_ok=True)
        with replacing(file) as writing:
            writing.write(json.dumps(fingerprint).encode() + b"\n")
        return None
    if json.loads(file.read_bytes()) != fingerprint:
        raise InputError(
            "an unfinished training of other examples, settings or another base is here",
            path=scratch,
            remedy="remove it, or choose another directory to write",
        )
    whole = [path.parent for path in scratch.glob("checkpoint-*/trainer_state.json") if _is_json(path)]
    return max(whole, key=lambda path: int(path.name.split("-")[1]), default=None)


def _is_json(path: Path) -> bool:
    """Whether the file, which is the last one of a checkpoint, was written to its end."""
    try:
        json.loads(path.read_bytes())
    except ValueError:
        return False
    return True


def _adapted(lm: PreTrainedModel, rank: int) -> Any:
    """The model with LoRA adapters put into its linear layers, in place; all else is frozen."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("LoRA needs peft", remedy="pip install stepmark[lora]") from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks the model for a property by its old name
        return get_peft_model(lm, config)


def _fit(
    net: RewardNet,
    rows: list[dict[str, Tensor]],
    held_out: list[_Item],
    settings: Train,
    *,
    scratch: Path,
    checkpoint: Path | None,
    measure: Measure | None,
) -> TrainerState:
    """Trains the net and returns what happened; the net is left for use."""
    console = Console(stderr=True)
    lm: Any = net.lm
    if settings.checkpointing:
        lm.activation_checkpointing_enable({"use_reentrant": False})
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        trainer = _Trainer(
            settings=settings,
            held_out=held_out,
            measure=measure,
            model=net,
            args=TrainingArguments(
                output_dir=str(scratch),
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size // settings.accumulate,
                gradient_accumulation_steps=settings.accumulate,
                warmup_steps=settings.warmup,
                weight_decay=settings.weight_decay,
                bf16=settings.bf16,
                use_cpu=not torch.cuda.is_available(),
                seed=settings.seed,
                logging_strategy="steps",
                logging_steps=1,
                eval_strategy="epoch",
                save_strategy="steps" if settings.checkpoint_every else "epoch",
                save_steps=settings.checkpoint_every or 1,
                save_total_limit=2,
                load_best_model_at_end=settings.patience > 0,
                metric_for_best_model="eval_loss" if settings.patience else None,
                greater_is_better=False,
                report_to="none",
                disable_tqdm=True,
                remove_unused_columns=False,
                dataloader_pin_memory=False,
            ),
            train_dataset=rows,
            eval_dataset=rows[:1],  # `evaluate` has the held-out solutions
            data_collator=_collate,
            callbacks=[_Watch(progress)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if settings.checkpointing:
        lm.activation_checkpointing_disable()
    net.eval()
    return trainer.state


class _Trainer(Trainer):
    """Trainer, but for the order of the solutions, the held-out measurements, and how checkpoints keep the net."""

    def __init__(self, *, settings: Train, held_out: list[_Item], measure: Measure | None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settings = settings
        self._held_out = held_out
        self._measure = measure
        self._lengths = [len(row["input_ids"]) for row in kwargs["train_dataset"]]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        settings = self._settings
        return _ByLength(self._lengths, settings.batch_size, settings.seed, lambda: int(self.state.epoch or 0))

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measures the held-out solutions, and ends the training when they no longer gain."""
        net: Any = self.accelerator.unwrap_model(self.model)
        said = _measured(net, self._held_out, self._settings, self._measure)
        history: list[dict[str, Any]] = self.state.log_history
        history.append({"held_out": said, "step": self.state.global_step})
        losses = [entry["held_out"]["loss"] for entry in history if "held_out" in entry]
        patience = self._settings.patience
        if patience and min(losses) not in losses[-patience:]:
            self.control.should_training_stop = True
        return {"eval_loss": said["loss"]} if patience else {}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """With torch: safetensors refuses the tied embeddings of a net that is no `PreTrainedModel`."""
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        net: Any = self.model
        torch.save(net.state_dict() if state_dict is None else state_dict, folder / WEIGHTS)


class _ByLength(Sampler[int]):
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


class _Watch(TrainerCallback):
    """Shows progress, and puts off a checkpoint at the end of an epoch until the epoch has been measured."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._bar = progress.add_task("training the reward model", total=None)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        self._progress.update(self._bar, completed=state.global_step, total=state.max_steps)
        if state.global_step % (state.max_steps // state.num_train_epochs) == 0:
            control.should_save = False

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        control.should_save = True


def _measured(net: RewardNet, items: Sequence[_Item], settings: Train, measure: Measure | None) -> dict[str, Any]:
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


def _epochs(state: TrainerState) -> tuple[tuple[Epoch, ...], tuple[float, ...]]:
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


def _collate(rows: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Pads on the right, where a causal model does not look; the id there does not matter."""
    return {
        "input_ids": pad_sequence([row["input_ids"] for row in rows], batch_first=True),
        "labels": pad_sequence([row["labels"] for row in rows], batch_first=True, padding_value=IGNORED),
    }
