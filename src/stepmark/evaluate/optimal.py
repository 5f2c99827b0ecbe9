"""What the compute-optimal choice gains over best-of-N, with intervals (Snell et al. 2024, arXiv 2408.03314, figures 4
and 8)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.budget.frontier import saving
from stepmark.budget.optimal import Held, cross_validate
from stepmark.errors import InputError
from stepmark.evaluate.arms import Table
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, resample
from stepmark.search.choose import Choice
from stepmark.search.parallel import Parallel

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Line:
    """Accuracy against mean cost per problem, each point with its interval over problems."""

    costs_K: Floats
    accuracy_K: Floats
    low_K: Floats
    high_K: Floats


@dataclass(frozen=True, slots=True)
class Saving:
    """By which factor the choice is cheaper than best-of-N at the accuracy of one of its points (`frontier.saving`)."""

    cost: float
    """of that point"""
    accuracy: float
    factor: float
    """NaN: the choice does not reach this accuracy"""
    low: float
    high: float
    reached: float
    """share of the resampled sets of problems in which it does; the interval is of those"""


@dataclass(frozen=True, slots=True)
class Followed:
    """The choice, each problem chosen for without its own fold, beside best-of-N."""

    held: Held
    optimal: Line
    baseline: Line
    savings: tuple[Saving, ...]
    """one for each point of the baseline"""


def follow(
    table: Table,
    ease_P: Sequence[float],
    budgets: Sequence[float],
    *,
    look_P_2: Floats | None = None,
    reuses_A: Sequence[bool] = (),
    baseline: Choice = "best",
    count: int = 5,
    folds: int = 2,
    seed: int = 0,
    bootstrap: Bootstrap = Bootstrap(resamples=2000),  # noqa: B008  (frozen)
) -> Followed:
    """Cross-validated accuracy and cost of the best arm per bin and budget.

    `look_P_2` is what measuring the ease of a problem cost, to draw and to judge, and is added to every arm that does
    not use its solutions (`reuses_A`), see `counted`; None: it is not counted. The intervals are over problems; the
    choice is not made anew in each resample. Raises InputError where no arm is best-of-N chosen by `baseline`, or none
    fits a budget.
    """
    costs_P_A = counted(table, look_P_2, reuses_A)
    held = cross_validate(table.values_P_A, costs_P_A, ease_P, budgets, count=count, folds=folds, seed=seed)
    columns = baselines(table, baseline)
    parts = [held.of(table.values_P_A), held.of(costs_P_A), table.values_P_A[:, columns], table.costs_P_A[:, columns]]
    K, J = len(budgets), len(columns)
    resampled_B_X = resample(np.concatenate(parts, axis=1), bootstrap)
    won_B_K, paid_B_K, base_B_J, cost_B_J = np.split(resampled_B_X, [K, 2 * K, 2 * K + J], axis=1)
    optimal = _line(parts[0], parts[1], won_B_K, bootstrap.level)
    base = _line(parts[2], parts[3], base_B_J, bootstrap.level)
    factor_J = saving(optimal.costs_K, optimal.accuracy_K, base.costs_K, base.accuracy_K)
    factor_B_J = np.array([saving(*one) for one in zip(paid_B_K, won_B_K, cost_B_J, base_B_J, strict=True)])
    savings = tuple(
        Saving(
            float(base.costs_K[j]), float(base.accuracy_K[j]), float(factor_J[j]), *_middle(factor_B_J[:, j], bootstrap)
        )
        for j in range(J)
    )
    return Followed(held, optimal, base, savings)


def counted(table: Table, look_P_2: Floats | None, reuses_A: Sequence[bool]) -> Floats:
    """The cost of each arm on each problem, with the look where it is paid on top: its drawing where the arm does not
    use its solutions, its judging too where the arm, as a majority vote, does not judge them."""
    if look_P_2 is None:
        return table.costs_P_A
    scored_A = [settings.scored for settings in table.settings]
    drawn_A = np.array([not reused for reused in reuses_A], dtype=np.float64)
    judged_A = np.array(
        [not (reused and scored) for reused, scored in zip(reuses_A, scored_A, strict=True)], np.float64
    )
    added_P_A: Floats = table.costs_P_A + look_P_2[:, :1] * drawn_A + look_P_2[:, 1:] * judged_A
    return added_P_A


def baselines(table: Table, choose: Choice) -> list[int]:
    """The arms that are best-of-N by this choice, by rising N."""
    found = [(one.n, a) for a, one in enumerate(table.settings) if isinstance(one, Parallel) and one.choose == choose]
    if not found:
        raise InputError(f"no run is parallel with --choose {choose}", remedy="add such runs, or name another baseline")
    return [a for _, a in sorted(found)]


def _line(values_P_K: Floats, costs_P_K: Floats, resampled_B_K: Floats, level: float) -> Line:
    low_K, high_K = accuracy_interval(values_P_K, resampled_B_K, level)
    return Line(costs_P_K.mean(axis=0), values_P_K.mean(axis=0), low_K, high_K)


def _middle(factor_B: Floats, bootstrap: Bootstrap) -> tuple[float, float, float]:
    """Low, high and the share that is a number."""
    known = factor_B[~np.isnan(factor_B)]
    if not known.size:
        return float("nan"), float("nan"), 0.0
    tail = (1 - bootstrap.level) / 2
    low, high = np.quantile(known, [tail, 1 - tail])
    return float(low), float(high), known.size / factor_B.size
