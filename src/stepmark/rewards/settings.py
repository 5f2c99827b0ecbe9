"""How a reward model is trained: the settings, without torch."""

from dataclasses import dataclass
from typing import Literal

from stepmark.rewards.aggregate import Aggregation

Head = Literal["label_tokens", "linear"]
"""`label_tokens`: two tokens of the language model, whose logits it has already; `linear`: a new layer on the last
hidden state"""


@dataclass(frozen=True, slots=True)
class Train:
    """How a reward model is trained."""

    head: Head = "label_tokens"
    """two tokens of the base model, or a new linear layer"""
    marker: str | None = None
    """token of the base model put after every step, at which the step is judged (by default the line end)"""
    plus: str = " +"
    """token of a right step (head label_tokens)"""
    minus: str = " -"
    """token of a wrong step (head label_tokens)"""
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
    warmup: float = 0.05
    """share of the updates in which the learning rate rises"""
    weight_decay: float = 0.01
    """of AdamW"""
    held_out: float = 0.1
    """share of the problems whose solutions are kept for measuring, at least one problem; 0: none"""
    bf16: bool = False
    """matrix products in bfloat16; the weights stay in float32"""
    seed: int = 0
    """of the split, the order and a linear head"""
