"""How a reward model is trained: the settings, and which of them fit together; without torch."""

import os
from dataclasses import dataclass
from typing import Literal

from stepmark.errors import InputError
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.examples import Classes, Kind, Neutral

Head = Literal["label_tokens", "linear", "two_layer", "likelihood"]
"""`label_tokens`: tokens of the language model, whose logits it has already; `linear`: a new layer on the last hidden
state; `two_layer`: two with a ReLU between, as Qwen2.5-Math-PRM has; `likelihood`: a new layer, and beside it how
far the least expected token of the step (PRM), or of the solution so far (ORM), lies below the model's own choice"""

Loss = Literal["cross_entropy", "squared_error"]
"""of a score that is a probability from its target, which may be soft"""


@dataclass(frozen=True, slots=True)
class Train:
    """How a reward model is trained."""

    head: Head = "label_tokens"
    """tokens of the base model, a new linear layer, or two; or likelihood: a layer, and beside it the model's own
    surprise at what is judged"""
    classes: Classes = 2
    """2: a probability that the step is right; 3: good, neutral and wrong steps (ratings +1, 0, -1) are told apart"""
    neutral: Neutral = "right"
    """how a step rated 0 by people or an oracle counts: in its target, with three classes in the score"""
    loss: Loss = "cross_entropy"
    """squared_error is for soft targets of two classes"""
    marker: str | None = None
    """token of the base model put after every step, at which the step is judged (by default the line end)"""
    plus: str = " +"
    """token of a right step (head label_tokens)"""
    minus: str = " -"
    """token of a wrong step (head label_tokens)"""
    zero: str | None = None
    """token of a neutral step (head label_tokens, three classes)"""
    max_tokens: int | None = None
    """longest sequence (by default as many as the base model has positions)"""
    too_long: Literal["error", "drop"] = "error"
    """a longer solution stops the training before it begins, or is left out and counted"""
    past_first_error: bool = False
    """train a PRM on the steps after the first wrong one too"""
    every_token: bool = True
    """train an ORM on every token of the solution, not on its end alone"""
    aggregate: Aggregation = "product"
    """how a PRM's step scores are best combined: product for labels by people or an oracle, last for rollouts; an ORM's
    score is always its last"""
    label_source: str = "unknown"
    """who rated the steps; kept with the model"""
    epochs: int = 2
    """passes over the solutions"""
    learning_rate: float = 3e-4
    """its peak: reached after the warm-up, it falls linearly to zero"""
    batch_size: int = 32
    """solutions per update, of similar length"""
    accumulate: int = 1
    """parts in which a batch is computed one after the other, where it does not fit in memory; the update is equal"""
    checkpointing: bool = False
    """compute activations again in the backward pass instead of keeping them"""
    lora: int = 0
    """rank of LoRA adapters on all linear layers, merged at the end (needs `pip install stepmark[lora]`); 0: train all
    weights"""
    patience: int = 0
    """stop after so many epochs without a lower held-out loss, and keep the best epoch's weights; 0: train all epochs
    and keep the last"""
    warmup: float = 0.05
    """share of the updates in which the learning rate rises"""
    weight_decay: float = 0.01
    """of AdamW"""
    held_out: float = 0.1
    """share of the problems whose solutions are kept for measuring, at least one problem; 0: none"""
    bf16: bool = False
    """matrix products in bfloat16; the weights stay in float32"""
    checkpoint_every: int = 0
    """updates between checkpoints, from which a killed training goes on; there is one at the end of each epoch too"""
    seed: int = 0
    """of the split, the order and a linear head"""


def processes() -> int:
    """How many train together, each on its part of every batch: as `torchrun` and `accelerate launch` say."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def first_process() -> bool:
    """Whether this one writes and shows what happens."""
    return os.environ.get("RANK", "0") == "0"


def spread() -> bool:
    """Whether accelerate is told to spread the model over the processes (FSDP)."""
    return os.environ.get("ACCELERATE_USE_FSDP", "false").lower() == "true"


def check(kind: Kind, settings: Train) -> None:
    """Raises `InputError` for settings out of their range, and for those that do not fit together."""
    if settings.epochs < 1 or settings.batch_size < 1 or settings.learning_rate <= 0:
        raise InputError("epochs, batch_size and learning_rate must be above 0", remedy="raise them")
    if not 0 <= settings.held_out < 1 or not 0 <= settings.warmup < 1 or settings.weight_decay < 0:
        raise InputError("held_out and warmup are shares below 1, weight_decay is not negative", remedy="correct them")
    parts = settings.accumulate * processes()
    if settings.accumulate < 1 or settings.batch_size % parts:
        raise InputError(f"a batch of {settings.batch_size} is not {parts} equal parts", remedy="choose a multiple")
    if settings.lora and processes() > 1:
        raise InputError("LoRA in several processes is not covered", remedy="train in one, or without LoRA")
    if min(settings.lora, settings.patience, settings.checkpoint_every) < 0:
        raise InputError("lora, patience and checkpoint_every are not negative", remedy="0 turns them off")
    if settings.patience and (settings.held_out == 0 or settings.checkpoint_every):
        raise InputError(
            "patience compares epochs by their held-out loss", remedy="hold problems out, and leave checkpoint_every 0"
        )
    if settings.patience and spread() and os.environ.get("FSDP_STATE_DICT_TYPE") != "FULL_STATE_DICT":
        raise InputError(
            "the best epoch's weights are taken up again whole",
            remedy="set fsdp_state_dict_type: FULL_STATE_DICT in accelerate's config, or patience to 0",
        )
    if settings.head == "likelihood" and (settings.classes == 3 or settings.lora):
        raise InputError("the head likelihood has two classes and is trained whole", remedy="take another head")
    if settings.classes == 3 and (kind == "orm" or settings.loss == "squared_error" or settings.neutral == "unrated"):
        raise InputError(
            "three classes are those of a PRM's steps, learnt by cross-entropy; a neutral one counts as right or wrong",
            remedy="train two classes",
        )
