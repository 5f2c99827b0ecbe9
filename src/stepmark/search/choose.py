"""Which of the finished solutions is the answer."""

import random
from collections.abc import Sequence
from math import nan
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from stepmark.grading import classes
from stepmark.rewards.aggregate import Aggregation
from stepmark.search import best_of_n, vote

Choice = Literal["best", "weighted", "majority"]
"""the best-scored solution, the answer with the largest sum of scores, or the most frequent answer"""


def choose(
    answers_N: Sequence[str | None],
    keys_N: Sequence[float | None],
    how: Choice,
    aggregate: Aggregation,
    rng: random.Random,
) -> int | None:
    """The index of the chosen solution, None where nothing can be chosen.

    `keys_N` are the solutions' scores as `sort_key` gives them; None is a solution without a score. A vote chooses an
    answer class of the grader, and its best-scored member to show for it. Ties are broken by `rng`.
    """
    best = best_of_n.chances(keys_N)
    if how == "best":
        return _draw(best, rng)
    classes_N = classes(answers_N)
    weights_N = None
    if how == "weighted":
        scaled_N = vote.weights(np.array([nan if key is None else key for key in keys_N]), aggregate)
        weights_N = [None if key is None else float(w) for key, w in zip(keys_N, scaled_N, strict=True)]
    shares = vote.chances(classes_N, weights_N)
    if not shares:
        return None
    won = rng.choices(list(shares), list(shares.values()))[0]
    members = [i for i, one in enumerate(classes_N) if one == won]
    shown = _draw(best_of_n.chances([keys_N[i] for i in members]), rng)
    return rng.choice(members) if shown is None else members[shown]


def _draw(chances_N: NDArray[np.float64], rng: random.Random) -> int | None:
    return rng.choices(range(len(chances_N)), chances_N.tolist())[0] if chances_N.any() else None
