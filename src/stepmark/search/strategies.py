"""The strategies by name: the function, and the class of its settings with their defaults."""

import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import fields
from typing import Any

import msgspec

from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.search.adaptive import Adaptive, adaptive
from stepmark.search.auto import Auto, auto
from stepmark.search.beam import Beam, beam
from stepmark.search.dvts import Dvts, dvts
from stepmark.search.lookahead import Lookahead, lookahead
from stepmark.search.mcts import Mcts, mcts
from stepmark.search.parallel import Parallel, parallel
from stepmark.search.particles import Particles, particles
from stepmark.search.rebase import Rebase, rebase
from stepmark.search.rejection import Rejection, rejection
from stepmark.search.revise import Revise, revise
from stepmark.search.settings import Settings
from stepmark.search.tree import SearchResult
from stepmark.types import Problem

Strategy = Callable[[Problem, Policy, Any, Any], Awaitable[SearchResult]]
"""problem, policy, reward model (None where it reads no scores), settings of its class"""

STRATEGIES: Mapping[str, tuple[Strategy, type[Settings]]] = {
    "adaptive": (adaptive, Adaptive),
    "auto": (auto, Auto),
    "beam": (beam, Beam),
    "dvts": (dvts, Dvts),
    "lookahead": (lookahead, Lookahead),
    "mcts": (mcts, Mcts),
    "parallel": (parallel, Parallel),
    "particles": (particles, Particles),
    "rebase": (rebase, Rebase),
    "rejection": (rejection, Rejection),
    "revise": (revise, Revise),
}


def settings_of(strategy: str, named: Mapping[str, Any]) -> Any:
    """A strategy's settings from their names, as JSON has them. JSON knows no infinity: a number that is null was one.
    Raises InputError for a strategy that there is not, or settings that it has not."""
    if strategy not in STRATEGIES:
        raise InputError(f"there is no strategy {strategy!r}", remedy=f"the strategies are {', '.join(STRATEGIES)}")
    kind = STRATEGIES[strategy][1]
    if unknown := sorted(named.keys() - {one.name for one in fields(kind)}):
        raise InputError(f"{strategy} has no setting {unknown[0]!r}", remedy="search again, or mend the plan")
    lost = {one.name for one in fields(kind) if one.type is float and named.get(one.name, 0) is None}
    try:
        return msgspec.convert({**named, **dict.fromkeys(lost, math.inf)}, kind)
    except msgspec.ValidationError as error:
        raise InputError(f"the settings are none of {strategy}: {error}") from None
