"""The strategies by name: the function, and the class of its settings with their defaults."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from stepmark.policies.base import Policy
from stepmark.search.adaptive import Adaptive, adaptive
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
