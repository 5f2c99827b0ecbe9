"""What `search_figures` computes from its runs: accuracy and cost of strategies at each budget, by difficulty, and the
findings of Snell et al. 2024 (arXiv 2408.03314) beside what was found here.

Difficulty has five bins by the policy's pass rate over all independent solutions of all seeds (`oracle`), as in the
paper; the compute-optimal choice is also made by mean scores (`predicted`). Figures are means over seeds; intervals are
over problems, with a problem's seeds together. A finding is confirmed, or contradicted, where the interval excludes 0.
"""

import asyncio
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from stepmark.budget.difficulty import Bins, Measure
from stepmark.evaluate.arms import Table, looked, right, spent, table
from stepmark.evaluate.intervals import Bootstrap, Floats, accuracy_interval, interval, resample
from stepmark.evaluate.optimal import Followed, follow
from stepmark.rewards.aggregate import Aggregation
from stepmark.search.parallel import Parallel
from stepmark.search.replay import replay_run
from stepmark.search.solve import Searches

BEST, WEIGHTED, MAJOR = "best-of-N", "best-of-N weighted", "majority"
"""choices among independent solutions"""
CHAIN, CHAINS, SIDE_BY_SIDE = "revision, one chain", "revision, root of N chains", "revision, all parallel"
"""splits of N attempts of a policy that revises; `VOTED` are two of them whose answer is chosen by majority"""
VOTED = {one: f"{one}, majority" for one in (CHAIN, SIDE_BY_SIDE)}
BOOTSTRAP = Bootstrap(resamples=2000)
NONE = 0.05
"""a difference in accuracy that is as good as none"""
LOOK = 4
"""solutions by which difficulty is predicted, where that is paid for"""

Runs = Mapping[tuple[str, int], Sequence[Searches]]
"""by strategy and budget, one for each seed"""


@dataclass(frozen=True)
class Point:
    """One strategy at one budget: means over problems and seeds."""

    strategy: str
    budget: int
    tokens: float
    flops: float
    accuracy: float
    low: float
    high: float
    """95 % over problems"""
    spread: float
    """standard deviation of the accuracy over seeds"""
    by_bin: tuple[float, ...]
    """accuracy on each fifth of the problems, the easiest first"""


@dataclass(frozen=True)
class Finding:
    """What the paper found, and what was found here."""

    paper: str
    measured: str
    value: float
    low: float
    high: float
    verdict: Literal["confirmed", "contradicted", "open"]


class Figures:
    """Everything that is computed from the runs."""

    def __init__(self, runs: Runs) -> None:
        self.runs = runs
        self.sizes = sorted({budget for _, budget in runs})
        self.by_seed = {key: np.array([right(run) for run in of_seeds], dtype=float) for key, of_seeds in runs.items()}
        self.values: dict[tuple[str, int], Floats] = {key: one.mean(axis=0) for key, one in self.by_seed.items()}
        widest = runs[BEST, self.sizes[-1]]
        by = widest[0].setup.policy
        self.arms: Table = table(
            [run for of_seeds in runs.values() for run in of_seeds if run.setup.policy == by], "generations"
        )
        eases = [looked(run, "oracle", self.sizes[-1], "generations")[0] for run in widest]
        self.oracle_P = np.mean(eases, axis=0).tolist()
        self.predicted_P, _ = looked(widest[0], "predicted", self.sizes[-1], "generations")
        bins = Bins.quantiles(self.oracle_P)
        self.bins_P = np.array([bins.of(ease) for ease in self.oracle_P])

    def points(self) -> list[Point]:
        """Every strategy at every budget."""
        found = []
        for key, values_P in self.values.items():
            runs = self.runs[key]
            low, high = accuracy_interval(values_P[:, None], resample(values_P[:, None], BOOTSTRAP), BOOTSTRAP.level)
            found.append(
                Point(
                    *key,
                    float(np.mean([spent(run, "tokens") for run in runs])),
                    float(np.mean([spent(run, "flops") for run in runs])),
                    float(values_P.mean()),
                    float(low[0]),
                    float(high[0]),
                    float(self.by_seed[key].mean(axis=1).std()),
                    tuple(self.within(values_P, b) for b in range(5)),
                )
            )
        return found

    def within(self, values_P: Floats, b: int) -> float:
        """The mean over a bin; NaN where it is empty."""
        members_P = self.bins_P == b
        return float(values_P[members_P].mean()) if members_P.any() else math.nan

    def followed(self, measure: Measure, paid: bool) -> Followed:
        """The compute-optimal choice among all strategies, at the paper's budgets of generations."""
        reuses_A = [isinstance(one, Parallel) and one.n >= LOOK for one in self.arms.settings]
        if paid:
            ease_P, look_P_2 = looked(self.runs[BEST, self.sizes[-1]][0], "predicted", LOOK, "generations")
        else:
            ease_P, look_P_2 = (self.oracle_P if measure == "oracle" else self.predicted_P), None
        budgets = [float(size) for size in self.sizes if not paid or size >= LOOK]
        return follow(
            self.arms, ease_P, budgets, look_P_2=look_P_2, reuses_A=reuses_A, baseline="weighted", bootstrap=BOOTSTRAP
        )

    def findings(self) -> list[Finding]:
        """The paper's, each with its figure here."""
        small, large = self.sizes[0], self.sizes[-1]
        value, bins = self.values, self.bins_P
        found = [
            finding(
                "beam search beats best-of-N at small budgets (section 5.3: 27 % against 16 % at 4)",
                f"beam - {WEIGHTED} at {small}",
                gap(value["beam", small], value[WEIGHTED, small]),
                +1,
            ),
            finding(
                "best-of-N catches up at large budgets (38 % against 34 % at 512)",
                f"beam - {WEIGHTED} at {large}",
                gap(value["beam", large], value[WEIGHTED, large]),
                -1,
            ),
            finding(
                "at large budgets best-of-N wins on easy problems (bins 1 and 2)",
                f"beam - {WEIGHTED} at {large}, bins 1-2",
                gap(value["beam", large], value[WEIGHTED, large], bins <= 1),
                -1,
            ),
            finding(
                "beam search wins on hard problems (bins 3 and 4), at every budget",
                f"beam - {WEIGHTED}, bins 3-4, mean over budgets",
                gap(self.mean("beam"), self.mean(WEIGHTED), (bins == 2) | (bins == 3)),
                +1,
            ),
            finding(
                "on the hardest problems (bin 5) nothing helps",
                f"beam - {WEIGHTED}, bin 5, mean over budgets",
                gap(self.mean("beam"), self.mean(WEIGHTED), bins == 4),
                0,
            ),
            finding(
                "beam search over-optimises on easy problems (bin 1: 78 % at 4, 77 % at 256, best-of-N 68 % to 88 %)",
                f"beam at {large} - at {small}, bin 1",
                gap(value["beam", large], value["beam", small], bins == 0),
                0,
            ),
            finding(
                "a verifier beats the majority (40 % against 30 % at 2048)",
                f"{WEIGHTED} - {MAJOR} at {large}",
                gap(value[WEIGHTED, large], value[MAJOR, large]),
                +1,
            ),
        ]
        if ("lookahead, k = 1", small) in value:
            found.append(
                finding(
                    "lookahead loses to beam search at equal generations",
                    "lookahead, k = 1 - beam, mean over budgets",
                    gap(self.mean("lookahead, k = 1"), self.mean("beam")),
                    -1,
                )
            )
        return found + self.revisions() + self.aggregations() + self.savings()

    def revisions(self) -> list[Finding]:
        """Of a policy that revises, where there is one: attempts one after the other against the same number drawn side
        by side from the same policy."""
        large = self.sizes[-1]
        if (CHAIN, large) not in self.values:
            return []
        chain, mixed, parallel = (self.values[name, large] for name in (CHAIN, CHAINS, SIDE_BY_SIDE))
        return [
            finding(
                "revisions beat parallel attempts, chosen by a verifier (section 6.2: 41.5 % against 39 % at 64)",
                f"{CHAIN} - {SIDE_BY_SIDE} at {large}",
                gap(chain, parallel),
                +1,
            ),
            finding(
                "revisions beat parallel attempts, chosen by majority (38 % against 35 % at 64)",
                f"the same, by majority, at {large}",
                gap(self.values[VOTED[CHAIN], large], self.values[VOTED[SIDE_BY_SIDE], large]),
                +1,
            ),
            finding(
                "on easy problems all attempts are best spent on one chain",
                f"{CHAIN} - {SIDE_BY_SIDE} at {large}, bins 1-2",
                gap(chain, parallel, self.bins_P <= 1),
                +1,
            ),
            finding(
                "on hard problems several chains are better than one",
                f"{CHAINS} - {CHAIN} at {large}, bins 4-5",
                gap(mixed, chain, self.bins_P >= 3),
                +1,
            ),
        ]

    def aggregations(self) -> list[Finding]:
        """Last against min against product, of the same independent solutions."""
        runs = self.runs[WEIGHTED, self.sizes[-1]]
        by: dict[Aggregation, Floats] = {
            how: np.mean(
                [right(asyncio.run(replay_run(run, replace(run.setup.settings, aggregate=how)))) for run in runs],
                axis=0,
            )
            for how in ("last", "min", "product")
        }
        said = "{} beats {} ({} % against {} % at 256): scores are values, from rollouts"
        return [
            finding(
                said.format("last", "min", 37, 35),
                f"last - min, {WEIGHTED} at {self.sizes[-1]}",
                gap(by["last"], by["min"]),
                +1,
            ),
            finding(
                said.format("min", "product", 35, 27),
                f"min - product, {WEIGHTED} at {self.sizes[-1]}",
                gap(by["min"], by["product"]),
                +1,
            ),
        ]

    def savings(self) -> list[Finding]:
        """The compute-optimal choice against best-of-N at the largest budget whose accuracy it reaches, in most of the
        resampled sets of problems: not where it saves most, which would be a choice by the outcome."""
        found = []
        ways: tuple[tuple[str, Measure, bool], ...] = (
            ("oracle bins, the look not counted", "oracle", False),
            ("predicted bins, the look not counted", "predicted", False),
            (f"predicted bins by {LOOK} solutions, counted", "predicted", True),
        )
        for name, measure, paid in ways:
            followed = self.followed(measure, paid).savings
            savings = [one for one in followed if not math.isnan(one.factor) and one.reached > 0.5]
            if not savings:
                continue
            best = max(savings, key=lambda one: one.cost)
            verdict: Literal["confirmed", "contradicted", "open"]
            verdict = "confirmed" if best.low > 1 else "contradicted" if best.high < 1 else "open"
            found.append(
                Finding(
                    "the compute-optimal choice reaches best-of-N's accuracy with up to 4 times fewer generations",
                    f"times fewer at the accuracy of {WEIGHTED} at {best.cost:.0f}, {name}",
                    best.factor,
                    best.low,
                    best.high,
                    verdict,
                )
            )
        return found

    def mean(self, name: str) -> Floats:
        """A strategy's accuracy on each problem, over all budgets."""
        mean_P: Floats = np.mean([self.values[name, size] for size in self.sizes], axis=0)
        return mean_P


def gap(one: Floats, other: Floats, members_P: Any = slice(None)) -> tuple[float, float, float]:
    """The paired difference in accuracy, with its interval over problems."""
    difference_P = (one - other)[members_P][:, None]
    if not len(difference_P):
        return math.nan, math.nan, math.nan
    mean = difference_P.mean(axis=0)
    low, high = interval(mean, resample(difference_P, BOOTSTRAP), BOOTSTRAP.level)
    return float(mean[0]), float(low[0]), float(high[0])


def finding(paper: str, measured: str, found: tuple[float, float, float], sign: int) -> Finding:
    """`sign`: whether the paper's difference is above 0, below, or none: that is confirmed by an interval within
    `NONE`, not by one that is wide."""
    value, low, high = found
    above, below = low > 0, high < 0
    verdict: Literal["confirmed", "contradicted", "open"]
    if math.isnan(value):
        verdict = "open"
    elif sign == 0:
        verdict = "confirmed" if low > -NONE and high < NONE else "contradicted" if above or below else "open"
    elif above or below:
        verdict = "confirmed" if above == (sign > 0) else "contradicted"
    else:
        verdict = "open"
    return Finding(paper, measured, value, low, high, verdict)
