"""Runs of searches compared on the same problems: what each gets right, and what it costs.

Runs that differ in their seed alone are one entry: each problem's value is the mean over the seeds, and the problems
are resampled, so that an interval holds both what seeds and what problems add to the spread. Differences are paired:
the same problems, resampled together. An ungraded answer earns nothing and is counted.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepmark.budget.exchange import Exchange, Match, match
from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, interval, resample
from stepmark.grading import grade
from stepmark.search.parallel import Parallel
from stepmark.search.solve import Searches
from stepmark.search.tree import SearchResult
from stepmark.types import Problem, Verdict

Floats = NDArray[np.float64]

SIZES = ("n", "paths", "chains", "within", "budget.generations", "budget.tokens", "budget.flops")
"""settings that say how much is spent: runs that differ in them alone are points of one line"""
CHOICES = {"best": "best-of-n", "weighted": "weighted vote", "majority": "majority vote"}
"""what N independent solutions are called, by the choice among them"""


@dataclass(frozen=True, slots=True)
class Level:
    """Accuracy on the problems of one level, with its interval."""

    level: int
    problems: int
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Entry:
    """One strategy with its settings; figures are means over problems and seeds, costs are of one problem."""

    name: str
    """the line's, and how much it may spend"""
    line: str
    """the strategy, and the settings that tell it from the others"""
    runs: tuple[str, ...]
    seeds: tuple[int, ...]
    accuracy: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    """accuracy of each seed"""
    levels: tuple[Level, ...]
    """empty where not every problem has a level"""
    generated: float
    """tokens"""
    scored: float
    """tokens that the reward model computed"""
    prompt: float
    """prompt tokens that the policy computed"""
    cached: float
    """prompt tokens that the policy took from a cache"""
    requests: float
    """to the policy and the reward model"""
    generations: float
    flops: float | None
    """of policy and reward model; None: a model's size is unknown"""
    seconds: float | None
    """wall time of one search, with others beside it"""
    unanswered: float
    """share without an answer"""
    ungraded: float
    exhausted: float
    """share that the budget ended"""


@dataclass(frozen=True, slots=True)
class Gap:
    """Accuracy of an entry minus the baseline's, with its paired interval."""

    name: str
    baseline: str
    difference: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Comparison:
    problems: int
    entries: tuple[Entry, ...]
    """by line, and within it by generated tokens"""
    baseline: str
    gaps: tuple[Gap, ...]
    """one for each other entry"""


@dataclass(frozen=True, slots=True)
class Exchanged:
    """A line's search against a larger policy, at equal FLOPs of training and inference in all."""

    line: str
    match: Match
    tokens: float
    """that the smaller policy may write for each problem"""
    low: float
    high: float
    """paired interval of the smaller one's accuracy less the larger one's"""


@dataclass(frozen=True, slots=True)
class _Group:
    """Runs that differ in their seed alone, with their results in the problems' order."""

    line: str
    name: str
    runs: tuple[Searches, ...]
    results: tuple[SearchResult, ...]
    """of all runs, one run after the other"""
    verdicts_R_P: tuple[tuple[Verdict, ...], ...]
    right_R_P: Floats


def compare(
    runs: Sequence[Searches],
    *,
    baseline: Path | None = None,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
) -> Comparison:
    """`baseline` is the directory of one of the runs; by default it is the entry that costs least, in FLOPs where all
    are known, else in generated tokens.

    Raises InputError: no runs, runs over different problems, the same search twice, a baseline that is not among them.
    """
    problems = same_problems(runs)
    groups = _groups(runs, problems)
    values_P_E = np.stack([one.right_R_P.mean(axis=0) for one in groups], axis=1)
    resampled_B_E = resample(values_P_E, bootstrap)
    low_E, high_E = accuracy_interval(values_P_E, resampled_B_E, bootstrap.level)
    entries = tuple(
        _entry(one, problems, float(low), float(high), bootstrap)
        for one, low, high in zip(groups, low_E, high_E, strict=True)
    )
    b = _baseline(entries, baseline)
    mean_E = values_P_E.mean(axis=0) - values_P_E[:, b].mean()
    low_E, high_E = interval(mean_E, resampled_B_E - resampled_B_E[:, [b]], bootstrap.level)
    gaps = zip(entries, mean_E.tolist(), low_E.tolist(), high_E.tolist(), strict=True)
    named = [Gap(one.name, entries[b].name, *figures) for one, *figures in gaps if one is not entries[b]]
    return Comparison(len(problems), entries, entries[b].name, tuple(named))


def exchange(
    runs: Sequence[Searches],
    larger: Searches,
    ratios: Sequence[float],
    bootstrap: Bootstrap = Bootstrap(resamples=2000),  # noqa: B008  (frozen)
) -> list[Exchanged]:
    """Each line of the runs, at each ratio of tokens written to tokens trained on (`stepmark.budget.exchange`), against
    a run of a larger policy on the same problems. A line's curve is that of its entries; what lies between them is
    interpolated.

    Raises InputError: other problems, a size that is unknown, runs of several policies, a policy that is not smaller.
    """
    problems = same_problems([*runs, larger])
    small, large = (_parameters(one) for one in (_one_policy(runs), larger))
    groups, [rival] = _groups(runs, problems), _groups([larger], problems)
    wrote = fmean(one.cost.generated for one in rival.results)
    found = []
    for line in dict.fromkeys(one.line for one in groups):
        own = [one for one in groups if one.line == line]
        tokens_K = [fmean(result.cost.generated for result in one.results) for one in own]
        values_P_E = np.stack([one.right_R_P.mean(axis=0) for one in [*own, rival]], axis=1)
        resampled_B_E = resample(values_P_E, bootstrap)
        *curve, rivals = values_P_E.mean(axis=0).tolist()
        for ratio in ratios:
            at = Exchange(large / small, ratio)
            one = match(tokens_K, curve, rivals, wrote, at)
            drawn = [match(tokens_K, row[:-1], row[-1], wrote, at) for row in resampled_B_E.tolist()]
            gaps_B = np.array([each.small - each.large for each in drawn])
            low, high = interval(np.array(one.small - one.large), gaps_B, bootstrap.level)
            found.append(Exchanged(line, one, at.factor * wrote, float(low), float(high)))
    return found


def _one_policy(runs: Sequence[Searches]) -> Searches:
    for run in runs:
        if run.setup.policy != runs[0].setup.policy:
            raise InputError(
                f"its policy is not that of {runs[0].path}", path=run.path, remedy="exchange runs of one policy"
            )
    return runs[0]


def _parameters(run: Searches) -> int:
    models = run.setup.settings.models
    if models is None:
        raise InputError("the size of its policy is not known", path=run.path, remedy="give stepmark search --size")
    return int(models.policy.body + models.policy.head)


def same_problems(runs: Sequence[Searches]) -> tuple[Problem, ...]:
    """Those of the first run. Raises InputError unless all runs have them, in whatever order."""
    if not runs:
        raise InputError("no runs to compare", remedy="give the directories of runs of stepmark search")
    first = runs[0]
    known = {one.id: (one.question, one.gold) for one in first.problems}
    for run in runs[1:]:
        own = {one.id: (one.question, one.gold) for one in run.problems}
        if own != known:
            counts = {
                "missing": len(known.keys() - own.keys()),
                "more": len(own.keys() - known.keys()),
                "with another question or gold": sum(own[name] != known[name] for name in own.keys() & known.keys()),
            }
            told = ", ".join(f"{count} {what}" for what, count in counts.items() if count)
            raise InputError(
                f"its problems are not those of {first.path}: {told}",
                path=run.path,
                remedy="compare runs of the same problems",
            )
    return first.problems


def _groups(runs: Sequence[Searches], problems: Sequence[Problem]) -> list[_Group]:
    """By line in the order of the runs, and within a line by generated tokens."""
    same: dict[str, list[Searches]] = defaultdict(list)
    for run in runs:
        same[_identity(run)].append(run)
    for several in same.values():
        for one, other in combinations(several, 2):
            if one.setup.settings.seed == other.setup.settings.seed:
                raise InputError(
                    f"it is the same search as {one.path}, with the same seed",
                    path=other.path,
                    remedy="give it once: a repetition adds no evidence",
                )
    graded: dict[tuple[str, str | None], Verdict] = {}
    groups = []
    for (line, name), several in zip(names([them[0] for them in same.values()]), same.values(), strict=True):
        verdicts_R_P = []
        for run in several:
            answers = {one.problem_id: one.answer for one in run.results}
            row = [(problem, answers[problem.id]) for problem in problems]
            for problem, answer in row:
                if (problem.id, answer) not in graded:
                    graded[problem.id, answer] = grade(problem, answer)
            verdicts_R_P.append(tuple(graded[problem.id, answer] for problem, answer in row))
        right_R_P = np.array([[one.correct for one in row] for row in verdicts_R_P], dtype=np.float64)
        results = tuple(one for run in several for one in run.results)
        groups.append(_Group(line, name, tuple(several), results, tuple(verdicts_R_P), right_R_P))
    lines = list(dict.fromkeys(one.line for one in groups))
    return sorted(groups, key=lambda one: (lines.index(one.line), fmean(r.cost.generated for r in one.results)))


def _identity(run: Searches) -> str:
    """All that a search depends on but the seed; a reward model that is not read does not count."""
    setup = run.setup
    reward = setup.reward if setup.settings.scored else None
    return repr((setup.strategy, replace(setup.settings, seed=0), setup.policy, reward))


def names(runs: Sequence[Searches]) -> list[tuple[str, str]]:
    """(line, name) of each: the strategy, with the settings that are no defaults or differ within the strategy, and
    with policy and reward model where they differ."""
    told = [_settings(run) for run in runs]
    differing = {
        (run.setup.strategy, key)
        for run, own in zip(runs, told, strict=True)
        for other, its in zip(runs, told, strict=True)
        if other.setup.strategy == run.setup.strategy
        for key in own.keys() | its.keys()
        if own.get(key) != its.get(key)
    }
    policies = {str(run.setup.policy) for run in runs}
    rewards = {str(run.setup.reward) for run in runs if run.setup.settings.scored}
    names = []
    for run, own in zip(runs, told, strict=True):
        strategy, kind = run.setup.strategy, type(run.setup.settings)
        usual = {one.name: one.default for one in fields(kind)}
        choice = own.pop("choose") if kind is Parallel else None
        shown = {k: v for k, v in own.items() if (strategy, k) in differing or v != usual.get(k)}
        line = [CHOICES[choice] if choice else strategy]
        line += [f"{key}={value}" for key, value in shown.items() if key not in SIZES]
        if len(policies) > 1:
            line.append(f"of {_short(run.setup.policy)}")
        if len(rewards) > 1 and run.setup.settings.scored and run.setup.reward is not None:
            line.append(f"by {_short(run.setup.reward)}")
        size = [f"{key}={value}" for key, value in own.items() if key in SIZES]
        names.append((" ".join(line), " ".join([*line, *size])))
    return names


def _settings(run: Searches) -> dict[str, Any]:
    """The strategy's settings by name, without seed and sizes of models; of the budget what is limited."""
    settings = run.setup.settings
    found = {one.name: getattr(settings, one.name) for one in fields(settings)}
    budget = {f"budget.{key}": value for key, value in asdict(found.pop("budget")).items() if value is not None}
    return {key: value for key, value in (found | budget).items() if key not in ("seed", "models")}


def _short(what: dict[str, Any]) -> str:
    """Of a manifest's policy or reward model: its name, and the number that makes a noisy oracle."""
    name = Path((what.get("endpoint") or {}).get("model") or what["name"]).name
    return f"{name} {what['noise']:g}" if "noise" in what else name


def _entry(group: _Group, problems: Sequence[Problem], low: float, high: float, bootstrap: Bootstrap) -> Entry:
    results, verdicts = group.results, [one for row in group.verdicts_R_P for one in row]
    seconds = [one for run in group.runs for one in run.seconds if one is not None]
    flops = [one.flops.total for one in results if one.flops is not None]
    return Entry(
        name=group.name,
        line=group.line,
        runs=tuple(str(run.path) for run in group.runs),
        seeds=tuple(run.setup.settings.seed for run in group.runs),
        accuracy=float(group.right_R_P.mean()),
        low=low,
        high=high,
        by_seed=tuple(group.right_R_P.mean(axis=1).tolist()),
        levels=_levels(problems, group.right_R_P.mean(axis=0), bootstrap),
        generated=fmean(one.cost.generated for one in results),
        scored=fmean(one.scoring.scored for one in results),
        prompt=fmean(one.cost.prompt for one in results),
        cached=fmean(one.cost.cached for one in results),
        requests=fmean(one.cost.requests + one.scoring.requests for one in results),
        generations=fmean(one.generations for one in results),
        flops=fmean(flops) if len(flops) == len(results) else None,
        seconds=fmean(seconds) if seconds else None,
        unanswered=fmean(one.answer is None for one in results),
        ungraded=fmean(one.value == "ungraded" for one in verdicts),
        exhausted=fmean(one.exhausted for one in results),
    )


def _levels(problems: Sequence[Problem], values_P: Floats, bootstrap: Bootstrap) -> tuple[Level, ...]:
    levels = [problem.level for problem in problems]
    if None in levels:
        return ()
    found = []
    for level in sorted({one for one in levels if one is not None}):
        own_P = values_P[[one == level for one in levels]]
        low, high = accuracy_interval(own_P, resample(own_P, bootstrap), bootstrap.level)
        found.append(Level(level, len(own_P), float(own_P.mean()), float(low), float(high)))
    return tuple(found)


def _baseline(entries: Sequence[Entry], path: Path | None) -> int:
    if path is not None:
        named = [e for e, one in enumerate(entries) if path.resolve() in [Path(run).resolve() for run in one.runs]]
        if not named:
            raise InputError("the baseline is none of the runs", path=path, remedy="name one of them")
        return named[0]
    costs = [one.flops for one in entries]
    known = [one for one in costs if one is not None]
    spent = known if len(known) == len(costs) else [one.generated for one in entries]
    return spent.index(min(spent))
