"""How long curves over n take at the size of Lightman et al. 2023 (500 problems x 1,860 candidates), and how many times
faster the closed forms are than the definitions they replace, measured side by side in one run.

    python benchmarks/estimators.py [--problems 500] [--candidates 1860] [--subsets 100]
"""

import argparse
import time
from collections.abc import Callable
from itertools import combinations
from math import comb

import numpy as np

from stepmark.evaluate.estimators import best_of_n, pass_at_k, vote
from stepmark.evaluate.intervals import Bootstrap, interval, resample
from stepmark.evaluate.pool import default_sizes


def timed(work: Callable[[], object]) -> tuple[float, object]:
    start = time.perf_counter()
    result = work()
    return time.perf_counter() - start, result


def best_by_loop(correct_N: np.ndarray, scores_N: np.ndarray, ns: tuple[int, ...]) -> list[float]:
    """The same closed form, candidate by candidate with whole binomials (no ties)."""
    order = sorted(range(len(scores_N)), key=lambda i: scores_N[i])
    return [sum(comb(m, n - 1) * int(correct_N[i]) for m, i in enumerate(order)) / comb(len(order), n) for n in ns]


def best_by_enumeration(correct_N: np.ndarray, scores_N: np.ndarray, n: int) -> float:
    subsets = list(combinations(range(len(scores_N)), n))
    return sum(correct_N[max(subset, key=lambda i: scores_N[i])] for subset in subsets) / len(subsets)


def majority_by_enumeration(classes_N: np.ndarray, n: int) -> float:
    """Share of class 0 among the most frequent, averaged over all subsets."""
    total, subsets = 0.0, 0
    for subset in combinations(classes_N.tolist(), n):
        votes = [subset.count(answer) for answer in set(subset)]
        total += (subset.count(0) == max(votes)) / votes.count(max(votes))
        subsets += 1
    return total / subsets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=500)
    parser.add_argument("--candidates", type=int, default=1860)
    parser.add_argument("--subsets", type=int, default=100)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    ns = default_sizes(args.candidates)
    # answers of a problem: a share of correct ones, and wrong ones over 20 classes
    rates_P = rng.beta(0.5, 0.5, args.problems)
    classes = [
        np.where(rng.random(args.candidates) < rate, 0, rng.zipf(1.5, args.candidates).clip(1, 20)) for rate in rates_P
    ]
    correct = [(classes_N == 0).astype(float) for classes_N in classes]
    scores = [(rng.random(args.candidates) + 0.3 * correct_N) / 1.3 for correct_N in correct]
    pool = list(zip(correct, scores, classes, strict=True))

    print(f"{args.problems} problems x {args.candidates} candidates, n = {', '.join(map(str, ns))}")
    best_s, best = timed(lambda: np.array([best_of_n(c, s, ns) for c, s, _ in pool]))
    print(f"best-of-n, exact                        {best_s:8.2f} s")
    pass_s, _ = timed(lambda: [pass_at_k(c, ns) for c, _, _ in pool])
    print(f"pass@k, exact                           {pass_s:8.2f} s")
    for name, weighted in (("majority", False), ("weighted vote", True)):
        vote_s, estimates = timed(
            lambda weighted=weighted: [
                vote(c, k, ns, s if weighted else None, subsets=args.subsets, seed=(0, p))
                for p, (c, s, k) in enumerate(pool)
            ]
        )
        error = max(np.sqrt(sum(one.variances_K for one in estimates)) / args.problems)
        print(f"{name + f', {args.subsets} subsets':<40}{vote_s:8.2f} s   standard error at most {error:.5f}")
    boot_s, _ = timed(lambda: interval(best.mean(axis=0), resample(best, Bootstrap()), 0.95))
    print(f"bootstrap over problems, 10,000 times   {boot_s:8.2f} s")

    few = pool[:2]
    best_of_n(*few[0][:2], ns)  # fills the table that all problems share
    fast_s, fast = timed(lambda: [best_of_n(c, s, ns) for c, s, _ in few])
    loop_s, loop = timed(lambda: [best_by_loop(c, s, ns) for c, s, _ in few])
    print(f"\nbest-of-n against a loop over candidates with whole binomials, {len(few)} problems of the pool:")
    print(f"  {loop_s:.3f} s / {fast_s:.5f} s = {loop_s / fast_s:,.0f} x, largest difference {_gap(fast, loop):.1e}")

    size, n = 20, 8
    small = [(c[:size], s[:size], k[:size]) for c, s, k in pool[:5]]
    print(f"against the enumeration of all {comb(size, n):,} subsets, N = {size}, n = {n}, {len(small)} problems:")
    fast_s, fast = timed(lambda: [best_of_n(c, s, (n,)) for c, s, _ in small])
    slow_s, slow = timed(lambda: [[best_by_enumeration(c, s, n)] for c, s, _ in small])
    print(f"  best-of-n {slow_s:.3f} s / {fast_s:.5f} s = {slow_s / fast_s:,.0f} x, difference {_gap(fast, slow):.1e}")
    fast_s, fast = timed(lambda: [vote(c, k, (n,)).values_K for c, _, k in small])
    slow_s, slow = timed(lambda: [[majority_by_enumeration(k, n)] for _, _, k in small])
    print(f"  majority  {slow_s:.3f} s / {fast_s:.5f} s = {slow_s / fast_s:,.0f} x, difference {_gap(fast, slow):.1e}")


def _gap(one: object, other: object) -> float:
    return float(np.abs(np.asarray(one) - np.asarray(other)).max())


if __name__ == "__main__":
    main()
