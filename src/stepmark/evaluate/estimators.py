"""What a method would score with n candidates, in expectation over all size-n subsets of the N that were drawn.

Taking the first n of N, or a few random draws, adds noise that is not in the data. For independent candidates the
average over *all* subsets is unbiased for n fresh candidates, and has the smallest variance of all such estimators
(a U-statistic). Candidates that were not drawn independently (a beam's) must not be read this way: an n-subset of a
width-N beam is no width-n beam.

One problem at a time, all n at once; every function returns one value per n, shape [K].

- `pass_at_k`: closed form (Chen et al. 2021, arXiv 2107.03374, section 2.1).
- `best_of_n`: closed form, one sort, ties averaged exactly.
- `vote`: `majority` in closed form for few candidates, else enumeration of all subsets where they are few, else seeded
  subsampling, with the standard error that it causes.

`correct_N` is 1.0 for a correct candidate and 0.0 for any other: an ungraded candidate is not known to be wrong, but
earns nothing, so that results with ungraded candidates are lower bounds. Report how many there are.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError
from stepmark.search.vote import check_weights, winners

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

EXACT_MAJORITY = 128
"""Up to so many candidates, `majority` takes milliseconds per problem (tens, with dozens of equally large classes)."""


def pass_at_k(correct_N: Floats, ks: Sequence[int]) -> Floats:
    """The chance that at least one of k candidates is correct: 1 - C(N - c, k) / C(N, k) with c correct of N."""
    wrong = correct_N.size - round(float(correct_N.sum()))
    return 1 - _below(correct_N.size, tuple(ks))[:, wrong]


def best_of_n(correct_N: Floats, scores_N: Floats, ns: Sequence[int], scored_N: Bools | None = None) -> Floats:
    """The expected correctness of the best-scored of n candidates.

    With the candidates sorted by rising score, the m-th (m = 1 .. N) is the best of C(m-1, n-1) of the C(N, n) subsets.
    Candidates that tie stand in any order with equal right, so each takes the mean correctness of its tie group: the
    exact average over the ties of all subsets. O(N log N) for all n together.

    `scored_N` is False for a candidate without a score (all have one by default). It is never chosen; a subset of such
    candidates alone chooses nothing and earns 0. NaN is not a score and raises InputError; -inf is one.
    """
    scored_N = np.ones(scores_N.size, dtype=bool) if scored_N is None else scored_N
    if np.isnan(scores_N[scored_N]).any():
        raise InputError("a score is NaN", remedy="mask the candidates without a score in scored_N")
    order_N = np.lexsort((scores_N, scored_N))
    sorted_N, ranked_N = scores_N[order_N], scored_N[order_N]
    new_group_N = np.ones(scores_N.size, dtype=bool)
    new_group_N[1:] = (sorted_N[1:] != sorted_N[:-1]) | (ranked_N[1:] != ranked_N[:-1])
    starts_G = np.flatnonzero(new_group_N)
    sizes_G = np.diff(starts_G, append=scores_N.size)
    mean_G = np.add.reduceat(np.where(ranked_N, correct_N[order_N], 0.0), starts_G) / sizes_G
    return _top(scores_N.size, tuple(ns)) @ np.repeat(mean_G, sizes_G)


def majority(correct_C: Floats, sizes_C: Ints, silent: int, ns: Sequence[int]) -> Floats:
    """The expected correctness of the most frequent answer among n candidates, exactly, ties averaged.

    `sizes_C` counts the candidates of each answer class, `correct_C` is the correctness of the class, `silent` counts
    candidates that do not vote. Sums, over classes c and counts t, the subsets in which c occurs t times and no other
    class more often: the coefficient of x^(n-t) in the product of the other classes' C(m, i) x^i for i <= t, kept apart
    by the number of classes that reach t, with which c shares. All terms are positive, so nothing cancels.
    """
    total = int(sizes_C.sum()) + silent
    check_sizes(total, ns)
    return np.array([_majority(correct_C, sizes_C, total, n) / comb(total, n) for n in ns])


def _majority(correct_C: Floats, sizes_C: Ints, total: int, n: int) -> float:
    won = 0.0
    for c in np.flatnonzero(correct_C):
        for t in range(1, min(n, int(sizes_C[c])) + 1):
            rivals = [int(size) for j, size in enumerate(sizes_C) if j != c and size >= t]
            others = total - int(sizes_C[c]) - sum(rivals)  # cannot exceed t, or do not vote
            ways_T_X = np.array([[float(comb(others, x)) for x in range(n - t + 1)]])  # [classes at t, candidates]
            for size in rivals:
                below_X = np.array([float(comb(size, x)) for x in range(t)])
                longer_T_X = np.zeros((len(ways_T_X) + 1, n - t + 1))
                for tied, ways_X in enumerate(ways_T_X):
                    longer_T_X[tied] += np.convolve(ways_X, below_X)[: n - t + 1]
                    longer_T_X[tied + 1, t:] += ways_X[: max(n - 2 * t + 1, 0)] * comb(size, t)
                ways_T_X = longer_T_X
            shares_T = 1 / np.arange(1, len(ways_T_X) + 1)
            won += float(correct_C[c]) * comb(int(sizes_C[c]), t) * float(ways_T_X[:, n - t] @ shares_T)
    return won


@dataclass(frozen=True, slots=True)
class Estimate:
    """Values per n, shape [K], and the variance of each that subsampling causes (0: exact)."""

    values_K: Floats
    variances_K: Floats


def vote(
    correct_N: Floats,
    classes_N: Ints,
    ns: Sequence[int],
    weights_N: Floats | None = None,
    *,
    subsets: int = 1000,
    seed: tuple[int, ...] = (0,),
) -> Estimate:
    """The expected correctness of the answer that n candidates vote for, ties averaged.

    `classes_N` numbers the answers' equivalence classes from 0; -1 does not vote (no answer, or no score). `weights_N`
    are finite and at least 0 (ScoreError); None counts votes. A class is worth the mean correctness of its members: 0
    or 1 where labels and classes agree. A subset in which nobody votes earns 0.

    Majority among few candidates is exact. Elsewhere, all C(N, n) subsets if n is 1 or they are at most `subsets`, else
    as many random ones. The same seed draws the same subsets for all weights; give each problem its own.
    """
    voting_N = classes_N >= 0
    size = classes_N.size
    kinds = int(classes_N.max(initial=-1)) + 1
    sizes_C = np.bincount(classes_N[voting_N], minlength=kinds)
    correct_C = np.bincount(classes_N[voting_N], correct_N[voting_N], kinds) / np.maximum(sizes_C, 1)
    if weights_N is None and size <= EXACT_MAJORITY:
        silent = size - int(sizes_C.sum())
        return Estimate(majority(correct_C, sizes_C, silent, ns), np.zeros(len(ns)))
    if weights_N is not None:
        check_weights(weights_N[voting_N])
    check_sizes(size, ns)
    if voting_N.all() and len(set(correct_C[sizes_C > 0])) == 1:  # whoever wins is worth the same
        return Estimate(np.full(len(ns), correct_C[sizes_C > 0][0]), np.zeros(len(ns)))
    values_K, variances_K = np.zeros(len(ns)), np.zeros(len(ns))
    few = [k for k, n in enumerate(ns) if n == 1 or comb(size, n) <= subsets]
    for k in few:
        totals = _Totals(classes_N, weights_N, kinds, comb(size, ns[k]))
        totals.add(_all_subsets(size, ns[k]))
        values_K[k] = float(np.mean(totals.winners() @ correct_C))
    many = sorted((n, k) for k, n in enumerate(ns) if k not in few)
    if many:
        # one shuffle serves every n: its first n candidates are a uniform subset of size n
        shuffled_S_N = _shuffles(size, subsets, seed)
        totals, seen = _Totals(classes_N, weights_N, kinds, subsets), 0
        for n, k in many:
            totals.add(shuffled_S_N[:, seen:n])
            seen = n
            values_S = totals.winners() @ correct_C
            values_K[k] = values_S.mean()
            variances_K[k] = values_S.var(ddof=1) / subsets
    return Estimate(values_K, variances_K)


class _Totals:
    """Votes and weights per class of S subsets that grow by blocks of candidates."""

    def __init__(self, classes_N: Ints, weights_N: Floats | None, kinds: int, subsets: int) -> None:
        self.classes_N = np.where(classes_N < 0, kinds, classes_N)  # the last column collects those who do not vote
        self.weights_N = weights_N
        self.votes_S_C = np.zeros((subsets, kinds + 1), dtype=np.int64)
        self.weights_S_C = np.zeros((subsets, kinds + 1))

    def add(self, members_S_B: Ints | NDArray[np.int32]) -> None:
        shape = self.votes_S_C.shape
        cells = (self.classes_N[members_S_B] + shape[1] * np.arange(shape[0])[:, None]).ravel()
        self.votes_S_C += np.bincount(cells, minlength=shape[0] * shape[1]).reshape(shape)
        if self.weights_N is not None:
            weights = self.weights_N[members_S_B].ravel()
            self.weights_S_C += np.bincount(cells, weights, shape[0] * shape[1]).reshape(shape)

    def winners(self) -> Floats:
        votes_S_C = self.votes_S_C[:, :-1]
        totals_S_C = votes_S_C.astype(np.float64) if self.weights_N is None else self.weights_S_C[:, :-1]
        return winners(totals_S_C, votes_S_C > 0)


@lru_cache(maxsize=64)
def _below(size: int, ns: tuple[int, ...]) -> Floats:
    """C(m, n) / C(N, n), the chance that all n of a subset lie among m given candidates: shape [K, N + 1], m = 0 .. N.
    By falling m, each is the next one times (m - n) / m: products of numbers in [0, 1], no factorials."""
    check_sizes(size, ns)
    rows = []
    for n in ns:
        falling = np.arange(size, n, -1.0)
        rows.append(np.concatenate([np.zeros(n), np.cumprod([1.0, *((falling - n) / falling)])[::-1]]))
    table_K_M = np.array(rows).reshape(len(ns), size + 1)
    table_K_M.flags.writeable = False
    return table_K_M


@lru_cache(maxsize=64)
def _top(size: int, ns: tuple[int, ...]) -> Floats:
    """C(m - 1, n - 1) / C(N, n), the chance that the m-th by rising score is the best of a subset: shape [K, N]."""
    table_K_N = _below(size, ns)[:, 1:] * np.array(ns, dtype=np.float64)[:, None] / np.arange(1, size + 1)
    table_K_N.flags.writeable = False
    return table_K_N


@lru_cache(maxsize=16)
def _all_subsets(size: int, n: int) -> Ints:
    return np.array(list(combinations(range(size), n)), dtype=np.int64)


@lru_cache(maxsize=2)
def _shuffles(size: int, subsets: int, seed: tuple[int, ...]) -> NDArray[np.int32]:
    candidates = np.tile(np.arange(size, dtype=np.int32), (subsets, 1))
    return np.random.default_rng(seed).permuted(candidates, axis=1)


def check_sizes(size: int, ns: Sequence[int]) -> None:
    """Raises InputError unless each n is between 1 and the number of candidates."""
    for n in ns:
        if n < 1:
            raise InputError(f"n = {n}", remedy="take at least 1 candidate")
        if n > size:
            raise InputError(f"n = {n} is above the {size} candidates of a problem", remedy=f"take n up to {size}")
