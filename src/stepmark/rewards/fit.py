"""The updates of a training, on `transformers.Trainer`: schedule, order, checkpoints, early stopping, LoRA."""

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import Progress
from torch import Tensor
from torch.distributed.fsdp import register_fsdp_forward_method
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

from stepmark.errors import InputError
from stepmark.rewards.dataset import ByLength, Item, collate
from stepmark.rewards.epochs import Measure, epochs_of, measured, told
from stepmark.rewards.model import RewardNet
from stepmark.rewards.settings import Train, first_process, processes, spread

WEIGHTS = "pytorch_model.bin"
"""of a checkpoint, where Trainer looks for them"""


def adapt(lm: PreTrainedModel, rank: int) -> Any:
    """The model with LoRA adapters put into its linear layers, in place; all else is frozen."""
    try:
        from peft import LoraConfig, get_peft_model
    except ImportError:
        raise InputError("LoRA needs peft", remedy="pip install stepmark[lora]") from None
    config = LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear", task_type="CAUSAL_LM")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # peft asks the model for a property by its old name
        return get_peft_model(lm, config)


def fit(
    net: RewardNet,
    rows: list[dict[str, Tensor]],
    held_out: list[Item],
    settings: Train,
    *,
    scratch: Path,
    checkpoint: Path | None,
    measure: Measure | None,
) -> tuple[TrainerState, dict[str, Tensor] | None]:
    """Trains the net and returns what happened, in every process that takes part; the net is left for use. Where it is
    spread over processes (FSDP) it has only a part of each weight then; the whole ones come with it, in the first
    process."""
    console = Console(stderr=True)
    lm: Any = net.lm
    if settings.checkpointing:
        lm.activation_checkpointing_enable({"use_reentrant": False})
    with Progress(console=console, transient=True, disable=not (console.is_terminal and first_process())) as progress:
        trainer = _Trainer(
            settings=settings,
            held_out=held_out,
            measure=measure,
            say=partial(console.print, soft_wrap=True, highlight=False) if first_process() else lambda line: None,
            model=net,
            args=TrainingArguments(
                output_dir=str(scratch),
                num_train_epochs=settings.epochs,
                learning_rate=settings.learning_rate,
                per_device_train_batch_size=settings.batch_size // settings.accumulate // processes(),
                gradient_accumulation_steps=settings.accumulate,
                warmup_steps=settings.warmup,
                weight_decay=settings.weight_decay,
                bf16=settings.bf16,
                use_cpu=not torch.cuda.is_available(),
                ddp_backend="gloo" if processes() > 1 and not torch.cuda.is_available() else None,
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
            data_collator=collate,
            callbacks=[_Watch(progress)],
        )
        trainer.remove_callback(PrinterCallback)
        sharded = _sharded(trainer)
        trainer.train(resume_from_checkpoint=None if checkpoint is None else str(checkpoint))
    if settings.checkpointing:
        lm.activation_checkpointing_disable()
    net.eval()
    return trainer.state, trainer.accelerator.get_state_dict(trainer.model) if sharded else None


def _sharded(trainer: Trainer) -> bool:
    """Whether accelerate spreads the model over processes. Raises InputError where it was told to and does not."""
    if not spread():
        return False
    plugin = getattr(trainer.accelerator.state, "fsdp_plugin", None)
    if plugin is None:
        raise InputError("accelerate spreads a model (FSDP) over several GPUs alone", remedy="train without FSDP")
    if plugin.fsdp_version != 2:
        raise InputError("FSDP of version 1 is not covered", remedy="set fsdp_version: 2 in accelerate's config")
    plugin.mixed_precision_policy = None  # products in bfloat16 by autocast, as where nothing is spread
    return True


class _Trainer(Trainer):
    """Trainer, but for the order of the solutions, the held-out measurements, and how checkpoints keep the net."""

    def __init__(
        self,
        *,
        settings: Train,
        held_out: list[Item],
        measure: Measure | None,
        say: Callable[[str], None],
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._say = say
        self._settings = settings
        self._held_out = held_out
        self._measure = measure
        self._lengths = [len(row["input_ids"]) for row in kwargs["train_dataset"]]

    def _get_train_sampler(self, train_dataset: Any = None) -> Sampler[int]:
        settings = self._settings
        return ByLength(self._lengths, settings.batch_size, settings.seed, lambda: int(self.state.epoch or 0))

    def autocast_smart_context_manager(self, cache_enabled: bool | None = True) -> AbstractContextManager[Any]:
        """accelerate has none around a model that it spreads."""
        around: AbstractContextManager[Any] = self.accelerator.autocast()
        return around

    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Measures the held-out solutions, tells what came out, and ends the training when they no longer gain."""
        net: Any = self.accelerator.unwrap_model(self.model)
        if self.is_fsdp_enabled and "read" not in vars(net):
            register_fsdp_forward_method(net, "read")
        said = measured(net, self._held_out, self._settings, self._measure)
        history: list[dict[str, Any]] = self.state.log_history
        history.append({"held_out": said, "step": self.state.global_step})
        self._say(told(epochs_of(self.state)[0]))
        losses = [entry["held_out"]["loss"] for entry in history if "held_out" in entry]
        patience = self._settings.patience
        if patience and min(losses) not in losses[-patience:]:
            self.control.should_training_stop = True
        return {"eval_loss": said["loss"]} if patience else {}

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        """With torch: safetensors refuses the tied embeddings of a net that is no `PreTrainedModel`."""
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        net: Any = self.model
        torch.save(net.state_dict() if state_dict is None else state_dict, folder / WEIGHTS)


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
