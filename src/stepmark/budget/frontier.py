"""Reading a curve of accuracy over cost, in both directions.

Between two measured points accuracy is linear in the logarithm of cost. Beyond the points nothing is known, and nothing
is extrapolated.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from stepmark.errors import InputError

Floats = NDArray[np.float64]


def accuracy_at(costs_K: ArrayLike, accuracy_K: ArrayLike, cost: float) -> float:
    """The accuracy that a cost buys, the best of what is cheaper included; NaN below the cheapest point, and what the
    dearest bought above it."""
    costs_K, best_K = _frontier(costs_K, accuracy_K)
    return float(np.interp(np.log(cost), np.log(costs_K), best_K, left=np.nan))


def cost_at(costs_K: ArrayLike, accuracy_K: ArrayLike, accuracy: float) -> float:
    """The least cost that buys an accuracy: at the least that of the cheapest point; NaN where no point reaches it."""
    costs_K, best_K = _frontier(costs_K, accuracy_K)
    if accuracy > best_K[-1]:
        return float("nan")
    k = int(np.argmax(best_K >= accuracy))
    if k == 0:
        return float(costs_K[0])
    share = (accuracy - best_K[k - 1]) / (best_K[k] - best_K[k - 1])
    low, high = np.log(costs_K[k - 1]), np.log(costs_K[k])
    return float(np.exp(low + share * (high - low)))


def saving(costs_K: ArrayLike, accuracy_K: ArrayLike, base_costs_J: ArrayLike, base_accuracy_J: ArrayLike) -> Floats:
    """By which factor a curve is cheaper than each point of a baseline at the same accuracy, shape [J]: 4 is four times
    fewer. NaN where it never gets there."""
    pairs = zip(np.asarray(base_costs_J, dtype=float), np.asarray(base_accuracy_J, dtype=float), strict=True)
    return np.array([cost / cost_at(costs_K, accuracy_K, accuracy) for cost, accuracy in pairs])


def _frontier(costs_K: ArrayLike, accuracy_K: ArrayLike) -> tuple[Floats, Floats]:
    """By rising cost, the best accuracy so far."""
    costs, accuracy = np.asarray(costs_K, dtype=float), np.asarray(accuracy_K, dtype=float)
    if costs.size == 0 or not (costs > 0).all():
        raise InputError("a curve without points, or with a cost that is not above 0", remedy="give measured costs")
    order = np.lexsort((accuracy, costs))
    return costs[order], np.maximum.accumulate(accuracy[order])
