"""Intervals over problems, by the bootstrap.

The problems are a sample of those the reader cares about; what a model scores on others of the kind is uncertain even
where the expectation over candidates is exact. Each resample draws as many problems with replacement and averages their
values; the same resamples serve all curves, so the interval of a difference is *paired*: that a problem is hard for
both methods cancels.

Percentile intervals: of a plain mean over hundreds of problems there is no bias to correct, and BCa would move the
bounds by the skewness alone (about a tenth of a point at 500 problems and 90 % accuracy), while for a difference that
is zero on most problems it is undefined or erratic. Below some thirty problems neither is to be trusted.

Not covered: which candidates were drawn for a problem is part of the spread between problems, but the seed of the
policy or of a reward model's training is not.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import exp, log

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BLOCK = 1000
"""Resamples in memory at a time."""


@dataclass(frozen=True, slots=True)
class Bootstrap:
    """How an interval is found: number of resamples, level (0.95: 95 %), seed."""

    resamples: int = 10_000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with the bounds of its interval."""

    value: float
    low: float
    high: float


def draws(problems: int, settings: Bootstrap) -> Iterator[Ints]:
    """How often each problem is drawn, shape [resamples, problems], block by block. Raises InputError: no problems."""
    if problems == 0:
        raise InputError("no problems to average over", remedy="give at least one problem")
    rng = np.random.default_rng(settings.seed)
    for start in range(0, settings.resamples, BLOCK):
        rows = min(BLOCK, settings.resamples - start)
        drawn = rng.integers(problems, size=(rows, problems)) + problems * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * problems).reshape(rows, problems)


def resample(values_P: Floats, settings: Bootstrap) -> Floats:
    """Means over resampled problems, shape [resamples, ...], of values of shape [problems, ...]. Problems are resampled
    as a whole: the difference of two columns of the result is a resampled paired difference. Raises InputError: no
    problems, or a value that is not finite."""
    problems = len(values_P)
    if not np.isfinite(values_P).all():
        raise InputError("a problem has no finite value", remedy="leave the problem out of all methods, and say so")
    flat_P = values_P.reshape(problems, -1) if problems else values_P
    means = [times_B_P @ flat_P / problems for times_B_P in draws(problems, settings)]
    return np.concatenate(means).reshape(-1, *values_P.shape[1:])


def interval(mean_K: Floats, resampled_B_K: Floats, level: float) -> tuple[Floats, Floats]:
    """Percentile bounds (low_K, high_K): the middle `level` of the resampled means, widened where need be to hold the
    mean itself."""
    tail = (1 - level) / 2
    low_K, high_K = np.quantile(resampled_B_K, [tail, 1 - tail], axis=0)
    return np.minimum(low_K, mean_K), np.maximum(high_K, mean_K)


def accuracy_interval(values_P_K: Floats, resampled_B_K: Floats, level: float) -> tuple[Floats, Floats]:
    """`interval` for values in [0, 1]. Where all P problems are 0, or all are 1, a resample shows no spread; the bound
    is then the exact one for P equal trials (Clopper & Pearson 1934): high = 1 - (tail)^(1/P), or low = tail^(1/P)."""
    low_K, high_K = interval(values_P_K.mean(axis=0), resampled_B_K, level)
    bound = exp(log((1 - level) / 2) / len(values_P_K))
    high_K = np.where((values_P_K == 0).all(axis=0), 1 - bound, high_K)
    low_K = np.where((values_P_K == 1).all(axis=0), bound, low_K)
    return low_K, high_K


def figures(
    values: Mapping[str, float], resampled: Sequence[Mapping[str, float]], level: float
) -> dict[str, Figure | None]:
    """Each value with its interval."""
    return {
        name: figure(value, np.array([one.get(name, np.nan) for one in resampled]), level)
        for name, value in values.items()
    }


def figure(value: float, resampled_B: Floats, level: float) -> Figure | None:
    """A value with its `interval`, from the resamples in which it is defined; None where it is not itself (NaN)."""
    if np.isnan(value):
        return None
    known_B = resampled_B[~np.isnan(resampled_B)]
    low, high = interval(np.array(value), known_B, level) if len(known_B) else (value, value)
    return Figure(float(value), float(low), float(high))
