"""A larger model or more inference: what a small model may spend on each problem, where both have cost the same in all
(Snell et al. 2024, arXiv 2408.03314, section 7).

Training a model of N parameters on D_pre tokens takes 6 N D_pre operations, and writing D_inf tokens in its life takes
2 N D_inf. A model with M times the parameters, trained on as many tokens and writing as many, takes M times both. The
small model that gets the difference for inference may write

    M + 3 (M - 1) / R        times as many tokens, with R = D_inf / D_pre.

The more a model is used, the less its training buys: R is small for a model that teaches itself and large for one in
production. Attention and the reward model's own cost are left out, as in the paper.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import inf

from stepmark.budget.frontier import accuracy_at
from stepmark.errors import InputError


@dataclass(frozen=True, slots=True)
class Exchange:
    """One small and one large model at equal FLOPs."""

    size: float
    """M: the large model's parameters over the small one's"""
    ratio: float
    """R: tokens written over tokens trained on"""

    def __post_init__(self) -> None:
        if not (self.size >= 1 and self.ratio > 0):
            raise InputError(
                f"a model {self.size:g} times as large, R = {self.ratio:g}", remedy="M is at least 1, R above 0"
            )

    @property
    def factor(self) -> float:
        """How many times as many tokens the small model may write."""
        return self.size + 3 * (self.size - 1) / self.ratio


@dataclass(frozen=True, slots=True)
class Match:
    """Small model with search against large model, at equal FLOPs."""

    exchange: Exchange
    small: float
    """accuracy of the small model with `exchange.factor` times the tokens"""
    large: float
    measured: bool
    """whether the small model's curve goes as far; if not, `small` is what its last point has: no more is known"""

    @property
    def gain(self) -> float:
        """The relative gain of the small model, as in the paper's figure 9; 0.27 is 27 % more problems solved."""
        return self.small / self.large - 1 if self.large else inf


def match(
    tokens_K: Sequence[float], accuracy_K: Sequence[float], large: float, large_tokens: float, exchange: Exchange
) -> Match:
    """The small model's curve (mean tokens per problem, accuracy) read at `exchange.factor` times the `large_tokens`
    that the large model writes per problem for its accuracy `large`; the paper's is greedy. NaN where the small model
    cannot even write one solution for that."""
    cost = exchange.factor * large_tokens
    return Match(exchange, accuracy_at(tokens_K, accuracy_K, cost), large, cost <= max(tokens_K))


def break_even(size: float, factor: float) -> float:
    """The R up to which a small model may write `factor` times the tokens: infinite up to `factor` = M."""
    return 3 * (size - 1) / (factor - size) if factor > size else inf
