"""Selection methods compared on one pool of candidates: the curves over n, with intervals and paired differences."""

from collections import defaultdict
from collections.abc import Sequence, Set
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError, ScoreError
from stepmark.evaluate.curves import Curve, Difference, Method, Point
from stepmark.evaluate.estimators import Estimate, best_of_n, check_sizes, pass_at_k, vote
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, interval, resample
from stepmark.rewards.aggregate import Aggregation, sort_key
from stepmark.search.vote import weights

Floats = NDArray[np.float64]
Key = tuple[Method, str | None, Aggregation | None]
MAJORITY: Key = ("majority", None, None)
ORACLE: Key = ("oracle", None, None)
ALL = "score every candidate, or say None for one without scores"


@dataclass(frozen=True, slots=True)
class Graded:
    """The N candidates of one problem, drawn independently, after grading."""

    problem_id: str
    correct_N: tuple[bool | None, ...]
    """None: ungraded. It earns nothing and is counted, so that accuracies are lower bounds."""
    classes_N: tuple[int | None, ...]
    """the answers' equivalence classes (`stepmark.grading.classes`); None does not vote"""
    tokens_N: tuple[int, ...] | None = None
    """tokens that the policy generated; None: unknown"""


@dataclass(frozen=True, slots=True)
class Scored:
    """A reward model's step scores of all candidates, and how they become solution scores."""

    name: str
    aggregate: Aggregation
    steps_P_N_S: Sequence[Sequence[Sequence[float] | None]]
    """None: this candidate has no scores. Best-of-n never chooses it, and it has no weight to vote with."""
    tokens_P_N: Sequence[Sequence[int]] | None = None
    """tokens that the reward model computed; None: unknown"""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """A curve that does not exist, and why."""

    method: Method
    scores: str
    aggregate: Aggregation
    reason: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """`curves`: majority and oracle, then best-of-n and weighted vote of each `Scored`. `differences`: each method that
    reads scores minus each baseline, at each n."""

    curves: tuple[Curve, ...]
    differences: tuple[Difference, ...]
    left_out: tuple[LeftOut, ...]
    mixed: int
    """problems with an answer class of which some members are labelled correct and others not: labels and classes come
    from different graders. Such a class is worth the share of its correct members."""


def default_sizes(candidates: int) -> tuple[int, ...]:
    """1, 2, 4, ... and the number of candidates itself."""
    return (*(2**k for k in range((candidates - 1).bit_length())), candidates)


def compare(
    problems: Sequence[Graded],
    scored: Sequence[Scored] = (),
    *,
    ns: Sequence[int],
    subsets: int = 1000,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
    baselines: Sequence[Key] = (MAJORITY,),
) -> Comparison:
    """Expected accuracy of each method with n candidates per problem, for each n, averaged over problems.

    Problems may have different numbers of candidates; each n must be within the smallest, since every point is an
    average over all problems. Random subsets (see `estimators.vote`) are the same for all methods on a problem, and so
    are the resampled problems: differences are paired twice over. A weighted vote needs scores of at least 0; of a
    reward model with negative ones it is left out, with the reason. `baselines` are methods among those compared.

    Raises InputError: no problems, no candidates, an n that the pool cannot give; ScoreError: step scores that do not
    fit the candidates, or cannot be aggregated.
    """
    ns = sorted(set(ns))
    if not problems or not ns:
        raise InputError("no problems or no n to evaluate", remedy="give at least one of each")
    if len({(one.name, one.aggregate) for one in scored}) < len(scored):
        raise InputError("the same scores and aggregation twice", remedy="name each reward model differently")
    check_sizes(min(len(problem.correct_N) for problem in problems), ns)
    keys_P_N = [_sort_keys(one, problems) for one in scored]
    left_out = [
        LeftOut("weighted_vote", one.name, one.aggregate, "a score is negative, and cannot be the weight of a vote")
        for one, keys in zip(scored, keys_P_N, strict=True)
        if one.aggregate != "product" and any(np.nanmin(keys_N, initial=0) < 0 for keys_N in keys)
    ]
    mute = {(one.scores, one.aggregate) for one in left_out}
    estimates = []
    for p, problem in enumerate(problems):
        keyed = [(one, keys[p]) for one, keys in zip(scored, keys_P_N, strict=True)]
        estimates.append(_estimates(problem, keyed, mute, ns=ns, subsets=subsets, seed=(bootstrap.seed, p)))
    methods = list(estimates[0])  # majority first
    values_P_M_K = np.array([[one[key].values_K for key in methods] for one in estimates])
    errors_M_K = np.sqrt(np.sum([[one[key].variances_K for key in methods] for one in estimates], axis=0)) / len(
        problems
    )
    means_M_K = values_P_M_K.mean(axis=0)
    resampled_B_M_K = resample(values_P_M_K, bootstrap)

    generated_K = _mean_tokens([problem.tokens_N for problem in problems], ns)
    tokens: dict[tuple[str | None, str | None], list[float | None]] = {(None, None): [0.0] * len(ns)}
    tokens |= {(one.name, one.aggregate): _mean_tokens(one.tokens_P_N, ns) for one in scored}
    curves, differences = [], []
    for m, key in enumerate(methods):
        low_K, high_K = accuracy_interval(values_P_M_K[:, m], resampled_B_M_K[:, m], bootstrap.level)
        columns = (means_M_K[m].tolist(), low_K.tolist(), high_K.tolist(), generated_K, tokens[key[1:]])
        points = zip(ns, *columns, errors_M_K[m].tolist(), strict=True)
        curves.append(Curve(*key, tuple(Point(*point) for point in points)))
        for baseline in baselines if key[1] is not None else ():
            b = methods.index(baseline)
            if b == m:
                continue
            mean_K = means_M_K[m] - means_M_K[b]
            low_K, high_K = interval(mean_K, resampled_B_M_K[:, m] - resampled_B_M_K[:, b], bootstrap.level)
            rows = zip(ns, mean_K.tolist(), low_K.tolist(), high_K.tolist(), strict=True)
            differences += [Difference(*key, *baseline, *row) for row in rows]
    mixed = sum(_mixed(problem) for problem in problems)
    return Comparison(tuple(curves), tuple(differences), tuple(left_out), mixed)


def _estimates(
    problem: Graded,
    scored: Sequence[tuple[Scored, Floats]],
    mute: Set[tuple[str, Aggregation]],
    *,
    ns: Sequence[int],
    subsets: int,
    seed: tuple[int, int],
) -> dict[Key, Estimate]:
    """What each method earns on one problem, given the solution scores (as `_sort_keys`) of each reward model; the
    `mute` do not vote."""
    correct_N = np.array([correct is True for correct in problem.correct_N], dtype=np.float64)
    classes_N = np.array([-1 if answer is None else answer for answer in problem.classes_N])
    exact_K = np.zeros(len(ns))
    found: dict[Key, Estimate] = {
        MAJORITY: vote(correct_N, classes_N, ns, subsets=subsets, seed=seed),
        ORACLE: Estimate(pass_at_k(correct_N, ns), exact_K),
    }
    for one, keys_N in scored:
        known_N = ~np.isnan(keys_N)
        best_K = best_of_n(correct_N, keys_N, ns, known_N)
        found["best_of_n", one.name, one.aggregate] = Estimate(best_K, exact_K)
        if (one.name, one.aggregate) not in mute:
            weights_N = np.where(known_N, weights(keys_N, one.aggregate), 0.0)
            voters_N = np.where(known_N, classes_N, -1)
            found["weighted_vote", one.name, one.aggregate] = vote(
                correct_N, voters_N, ns, weights_N, subsets=subsets, seed=seed
            )
    return found


def _sort_keys(scored: Scored, problems: Sequence[Graded]) -> list[Floats]:
    """Per problem the candidates' solution scores, as `sort_key` gives them; NaN where there are none."""
    if len(scored.steps_P_N_S) != len(problems):
        raise ScoreError(f"{scored.name} scores {len(scored.steps_P_N_S)} of {len(problems)} problems", remedy=ALL)
    keys = []
    for steps_N_S, problem in zip(scored.steps_P_N_S, problems, strict=True):
        where = f"{scored.name}, problem {problem.problem_id!r}"
        if len(steps_N_S) != len(problem.correct_N):
            found = f"{len(steps_N_S)} scores for {len(problem.correct_N)} candidates"
            raise ScoreError(f"{where}: {found}", remedy=ALL)
        keys_N = np.full(len(steps_N_S), np.nan)
        for candidate, steps_S in enumerate(steps_N_S):
            if steps_S is not None:
                try:
                    keys_N[candidate] = sort_key(steps_S, scored.aggregate)
                except ScoreError as error:
                    raise ScoreError(f"{where}, candidate {candidate}: {error.problem}", remedy=error.remedy) from None
        keys.append(keys_N)
    return keys


def _mean_tokens(tokens_P_N: Sequence[Sequence[int] | None] | None, ns: Sequence[int]) -> list[float | None]:
    """Expected tokens of n candidates, the mean over problems; None where a problem's tokens are unknown."""
    known = [tokens_N for tokens_N in tokens_P_N or () if tokens_N is not None]
    if not known or len(known) < len(tokens_P_N or ()):
        return [None] * len(ns)
    mean = float(np.mean([np.mean(tokens_N) for tokens_N in known]))
    return [n * mean for n in ns]


def _mixed(problem: Graded) -> bool:
    labels: dict[int, set[bool | None]] = defaultdict(set)
    for answer, correct in zip(problem.classes_N, problem.correct_N, strict=True):
        if answer is not None:
            labels[answer].add(correct)
    return any(len(found) > 1 for found in labels.values())
