"""What every strategy is told."""

from dataclasses import dataclass, field

from stepmark.errors import InputError
from stepmark.rewards.aggregate import Aggregation
from stepmark.search.account import Budget, Models
from stepmark.search.choose import Choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Common to all strategies. Defaults are those of Snell et al. 2024 (arXiv 2408.03314) where it gives them: a vote
    weighted by the scores, at most 40 steps."""

    steered = True
    """whether scores decide what is drawn, and not only which solution is chosen"""
    choose: Choice = "weighted"
    """how the answer is chosen among the finished solutions"""
    aggregate: Aggregation | None = None
    """how step scores become the score of a solution, or of a part of one. By default as the reward model's directory
    or its authors say ("use: ..." when it is read), and of an oracle the last one counts, as in the paper"""
    temperature: float = 0.8
    """of sampling; 0 is greedy"""
    max_tokens: int = 1024
    """of a solution; one that is cut is not finished"""
    max_step_tokens: int = 256
    """of a step; one that is cut ends its solution unfinished"""
    max_steps: int = 40
    """rounds of one step, after which what is not finished is left so"""
    budget: Budget = field(default_factory=Budget)
    models: Models | None = None
    """the models' sizes; without them no FLOPs are counted"""
    seed: int = 0
    """the same seed grows the same trees"""

    @property
    def combine(self) -> Aggregation:
        """The aggregation, also where none was named."""
        return self.aggregate or "last"

    @property
    def scored(self) -> bool:
        """Whether solutions are scored: a majority of what is drawn anyway needs no reward model."""
        return self.steered or self.choose != "majority"

    def __post_init__(self) -> None:
        for name in ("max_tokens", "max_step_tokens", "max_steps"):
            at_least(self, name, 1)


def at_least(settings: object, name: str, least: float) -> None:
    """Raises InputError where the setting `name` is below `least`."""
    if not getattr(settings, name) >= least:
        raise InputError(f"{name} is {getattr(settings, name)}", remedy=f"it is at least {least}")
