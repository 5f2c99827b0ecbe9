"""Every search strategy at every budget, on Quantities with the bundled policy and a reward model: accuracy against
generated tokens and against FLOPs, by difficulty, and the findings of Snell et al. 2024 (arXiv 2408.03314) one by one.

    python -m recipes.search_figures --out runs/search --reward runs/prm --problems 500 --seeds 3 \
        --budgets 4,8,16,32,64,128,256

A budget is a number of generations, as in the paper: steps sampled at one depth. All strategies draw at one temperature
and choose by a vote weighted by the same aggregation of scores, unless they are defined by another choice. Solutions
that are drawn independently are drawn once, for the largest budget: smaller budgets and other choices are replayed
from the record, and equal fresh runs. Each strategy, budget and seed has a run of its own below --out; an interrupted
recipe goes on where it was. It writes `figures.json`, `report.html` and `pictures/`.

Difficulty has five bins by the policy's pass rate over all independent solutions of all seeds (`oracle`), as in the
paper; the compute-optimal choice is also made by mean scores (`predicted`). Figures are means over seeds; intervals are
over problems, with a problem's seeds together. A finding is confirmed, or contradicted, where the interval excludes 0.
"""

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import altair as alt
import numpy as np
import tyro

from stepmark.budget.difficulty import Bins, Measure
from stepmark.budget.flops import ModelSize
from stepmark.cli.models import RewardOptions
from stepmark.errors import InputError
from stepmark.evaluate.arms import Table, looked, right, spent, table
from stepmark.evaluate.intervals import Bootstrap, Floats, accuracy_interval, interval, resample
from stepmark.evaluate.optimal import Followed, follow
from stepmark.policies import bundled
from stepmark.problems import quantities, record
from stepmark.records import Run, replacing
from stepmark.report import Report, write
from stepmark.report.palette import INK, MAJORITY, OTHERS, PRM
from stepmark.report.pictures import Picture, Series, line_chart
from stepmark.rewards.aggregate import Aggregation
from stepmark.search.account import Models
from stepmark.search.adaptive import Adaptive
from stepmark.search.beam import Beam
from stepmark.search.choose import Choice
from stepmark.search.dvts import Dvts
from stepmark.search.lookahead import Lookahead
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.particles import Particles
from stepmark.search.rebase import Rebase
from stepmark.search.rejection import Rejection
from stepmark.search.replay import replay
from stepmark.search.settings import Settings
from stepmark.search.solve import Searches, Setup, read_searches, solve

BEST, WEIGHTED, MAJOR = "best-of-N", "best-of-N weighted", "majority"
CHOICES: Mapping[str, Choice] = {BEST: "best", WEIGHTED: "weighted", MAJOR: "majority"}
"""of independent solutions"""
BOOTSTRAP = Bootstrap(resamples=2000)
LOOK = 4
"""solutions by which difficulty is predicted, where that is paid for"""


@dataclass(frozen=True)
class SearchFigures:
    """All strategies at all budgets, and the paper's findings."""

    out: Path
    """directory of the runs and figures; run again after an interruption, it goes on"""
    judge: Annotated[RewardOptions, tyro.conf.arg(name="")] = field(default_factory=RewardOptions)
    problems: int = 500
    budgets: str = "4,8,16,32,64,128,256"
    """generations, with commas between"""
    seeds: int = 3
    aggregate: Aggregation = "last"
    """of step scores, in all strategies: the paper's; for labels of each step's own correctness min or product"""
    temperature: float = 1.0
    max_tokens: int = 256
    """of a solution"""
    strategies: str = ""
    """only these, with semicolons between, beside best-of-N; all by default. beam is among the paper's findings"""

    @property
    def sizes(self) -> list[int]:
        """Raises InputError for budgets that the strategies cannot be split into."""
        sizes = sorted({int(part) for part in self.budgets.split(",") if part.strip().isdigit()})
        if not sizes or any(size % 4 or size == 0 for size in sizes):
            raise InputError(f"--budgets {self.budgets!r}", remedy="give multiples of 4, with commas between")
        return sizes


def grown(args: SearchFigures, budget: int, seed: int, models: Models) -> dict[str, Settings]:
    """The strategies that grow by scores, or by votes, each with settings that sample `budget` steps at a depth."""
    common: dict[str, Any] = {
        "aggregate": args.aggregate,
        "temperature": args.temperature,
        "max_tokens": args.max_tokens,
        "models": models,
        "seed": seed,
    }
    half = budget // 2
    made: dict[str, Settings] = {
        "beam": Beam(n=budget, m=4, **common),
        "lookahead, k = 1": Lookahead(n=half, m=min(4, half), k=1, **common),
        "DVTS": Dvts(n=budget, m=4, **common),
        "REBASE": Rebase(n=budget, **common),
        "particles": Particles(n=budget, **common),
        "MCTS": Mcts(paths=budget // 4, width=4, **common),
        "early rejection": Rejection(n=budget, **common),
        "adaptive majority": Adaptive(n=budget, **common),
    }
    if math.isqrt(budget) != 4:
        made["beam, M = root of N"] = Beam(n=budget, m=math.isqrt(budget), **common)
    if args.strategies:
        wanted = [name.strip() for name in args.strategies.split(";")]
        if unknown := sorted(set(wanted) - made.keys()):
            raise InputError(f"no strategy {unknown[0]!r}", remedy=f"there are: {'; '.join(made)}")
        made = {name: settings for name, settings in made.items() if name in wanted}
    return made


async def searched(args: SearchFigures) -> dict[tuple[str, int], list[Searches]]:
    """The runs of every strategy and budget, one for each seed."""
    chosen = list(quantities.generate("test", args.problems, seed=11))
    models = Models(ModelSize.read(bundled.PATH), args.judge.size())
    found: dict[tuple[str, int], list[Searches]] = {}
    policy = bundled.load()
    with args.judge.open(chosen) as reward:

        async def one(name: str, settings: Settings, budget: int) -> Searches:
            setup = Setup(type(settings).__name__.lower(), settings, {"name": "bundled"}, args.judge.told())
            path = args.out / f"{re.sub('[^a-zA-Z0-9]+', '-', name)}-{budget}-{settings.seed}"
            with Run.open(path, setup, compressed=True) as run:
                record(run, chosen)
                await solve(run, chosen, policy, reward, setup)
            print(path, flush=True)
            return read_searches(path)

        most = args.sizes[-1]
        for seed in range(args.seeds):
            drawn = Parallel(
                n=most,
                choose="best",
                aggregate=args.aggregate,
                temperature=args.temperature,
                max_tokens=args.max_tokens,
                models=models,
                seed=seed,
            )
            independent = await one("parallel", drawn, most)
            for budget in args.sizes:
                for name, choose in CHOICES.items():
                    now = replace(drawn, n=budget, choose=choose)
                    found.setdefault((name, budget), []).append(await replayed(independent, now))
                for name, settings in grown(args, budget, seed, models).items():
                    found.setdefault((name, budget), []).append(await one(name, settings, budget))
    policy.close()
    return found


async def replayed(run: Searches, now: Settings) -> Searches:
    """The run that these settings would have given."""
    pairs = zip(run.problems, run.results, strict=True)
    results = [await replay(problem, result, run.setup.settings, now) for problem, result in pairs]
    return replace(run, setup=replace(run.setup, settings=now), results=tuple(results))


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

    def __init__(self, args: SearchFigures, runs: Mapping[tuple[str, int], list[Searches]]) -> None:
        self.args = args
        self.runs = runs
        self.sizes = args.sizes
        self.arms: Table = table([run for of_seeds in runs.values() for run in of_seeds], "generations")
        self.by_seed = {key: np.array([right(run) for run in of_seeds], dtype=float) for key, of_seeds in runs.items()}
        self.values: dict[tuple[str, int], Floats] = {key: one.mean(axis=0) for key, one in self.by_seed.items()}
        widest = runs[BEST, self.sizes[-1]]
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

    def gap(self, one: Floats, other: Floats, members_P: Any = slice(None)) -> tuple[float, float, float]:
        """The paired difference in accuracy, with its interval over problems."""
        difference_P = (one - other)[members_P][:, None]
        if not len(difference_P):
            return math.nan, math.nan, math.nan
        mean = difference_P.mean(axis=0)
        low, high = interval(mean, resample(difference_P, BOOTSTRAP), BOOTSTRAP.level)
        return float(mean[0]), float(low[0]), float(high[0])

    def followed(self, measure: Measure, paid: bool) -> Followed:
        """The compute-optimal choice among all strategies, at the paper's budgets of generations."""
        reuses_A = [isinstance(one, Parallel) and one.n >= LOOK for one in self.arms.settings]
        if paid:
            ease_P, look_P = looked(self.runs[BEST, self.sizes[-1]][0], "predicted", LOOK, "generations")
        else:
            ease_P, look_P = (self.oracle_P if measure == "oracle" else self.predicted_P), None
        budgets = [float(size) for size in self.sizes if not paid or size >= LOOK]
        return follow(
            self.arms, ease_P, budgets, look_P=look_P, reuses_A=reuses_A, baseline="weighted", bootstrap=BOOTSTRAP
        )

    def findings(self) -> list[Finding]:
        """The paper's, each with its figure here."""
        small, large = self.sizes[0], self.sizes[-1]
        value, bins = self.values, self.bins_P
        found = [
            finding(
                "beam search beats best-of-N at small budgets (section 5.3: 27 % against 16 % at 4)",
                f"beam - {WEIGHTED} at {small}",
                self.gap(value["beam", small], value[WEIGHTED, small]),
                +1,
            ),
            finding(
                "best-of-N catches up at large budgets (38 % against 34 % at 512)",
                f"beam - {WEIGHTED} at {large}",
                self.gap(value["beam", large], value[WEIGHTED, large]),
                -1,
            ),
            finding(
                "at large budgets best-of-N wins on easy problems (bins 1 and 2)",
                f"beam - {WEIGHTED} at {large}, bins 1-2",
                self.gap(value["beam", large], value[WEIGHTED, large], bins <= 1),
                -1,
            ),
            finding(
                "beam search wins on hard problems (bins 3 and 4), at every budget",
                f"beam - {WEIGHTED}, bins 3-4, mean over budgets",
                self.gap(self.mean("beam"), self.mean(WEIGHTED), (bins == 2) | (bins == 3)),
                +1,
            ),
            finding(
                "on the hardest problems (bin 5) nothing helps",
                f"beam - {WEIGHTED}, bin 5, mean over budgets",
                self.gap(self.mean("beam"), self.mean(WEIGHTED), bins == 4),
                0,
            ),
            finding(
                "beam search over-optimises on easy problems (bin 1: 78 % at 4, 77 % at 256, best-of-N 68 % to 88 %)",
                f"beam at {large} - at {small}, bin 1",
                self.gap(value["beam", large], value["beam", small], bins == 0),
                0,
            ),
            finding(
                "a verifier beats the majority (40 % against 30 % at 2048)",
                f"{WEIGHTED} - {MAJOR} at {large}",
                self.gap(value[WEIGHTED, large], value[MAJOR, large]),
                +1,
            ),
        ]
        if ("lookahead, k = 1", small) in value:
            found.append(
                finding(
                    "lookahead loses to beam search at equal generations",
                    "lookahead, k = 1 - beam, mean over budgets",
                    self.gap(self.mean("lookahead, k = 1"), self.mean("beam")),
                    -1,
                )
            )
        return found + self.aggregations() + self.savings()

    def aggregations(self) -> list[Finding]:
        """Last against min against product, of the same independent solutions."""
        runs = self.runs[WEIGHTED, self.sizes[-1]]
        by: dict[Aggregation, Floats] = {
            how: np.mean(
                [right(asyncio.run(replayed(run, replace(run.setup.settings, aggregate=how)))) for run in runs], axis=0
            )
            for how in ("last", "min", "product")
        }
        said = "{} beats {} ({} % against {} % at 256): scores are values, from rollouts"
        return [
            finding(
                said.format("last", "min", 37, 35),
                f"last - min, {WEIGHTED} at {self.sizes[-1]}",
                self.gap(by["last"], by["min"]),
                +1,
            ),
            finding(
                said.format("min", "product", 35, 27),
                f"min - product, {WEIGHTED} at {self.sizes[-1]}",
                self.gap(by["min"], by["product"]),
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
                    f"times fewer than {WEIGHTED} at {best.cost:.0f}, {name}",
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


def finding(paper: str, measured: str, gap: tuple[float, float, float], sign: int) -> Finding:
    """`sign`: whether the paper's difference is above 0, below, or not to be told from it."""
    value, low, high = gap
    above, below = low > 0, high < 0
    verdict: Literal["confirmed", "contradicted", "open"]
    if math.isnan(value):
        verdict = "open"
    elif sign == 0:
        verdict = "contradicted" if above or below else "confirmed"
    elif above or below:
        verdict = "confirmed" if above == (sign > 0) else "contradicted"
    else:
        verdict = "open"
    return Finding(paper, measured, value, low, high, verdict)


def pictures(points: Sequence[Point]) -> tuple[Picture, ...]:
    """Accuracy against tokens and against FLOPs, and against budget for each bin of difficulty."""
    names = list(dict.fromkeys(point.strategy for point in points))
    hues = [PRM, *OTHERS]
    series = {
        name: Series(
            name,
            INK if name == WEIGHTED else MAJORITY if name == MAJOR else hues[i % len(hues)],
            () if i < len(hues) else (6, 4),
        )
        for i, name in enumerate(names)
    }
    shown = []
    for what, title in (("tokens", "generated tokens per problem"), ("flops", "FLOPs per problem, both models")):
        lines = {
            series[name]: [_row(one, getattr(one, what)) for one in points if one.strategy == name] for name in names
        }
        x = alt.X("x:Q", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(title=title, format="~s"))
        caption = "Share of problems solved, the mean over seeds, with 95 % intervals over problems."
        shown.append(
            Picture(what, f"Accuracy over {title}", caption, line_chart(lines, x, [series[WEIGHTED]]), tuple(lines))
        )
    few = [name for name in names if name in (WEIGHTED, MAJOR, "beam", "lookahead, k = 1", "REBASE")]
    for b in range(5):
        lines = {
            series[name]: [
                {"x": one.budget, "y": one.by_bin[b], "low": one.by_bin[b], "high": one.by_bin[b], "tip": _tip(one)}
                for one in points
                if one.strategy == name and not math.isnan(one.by_bin[b])
            ]
            for name in few
        }
        if all(lines.values()):
            x = alt.X("x:Q", scale=alt.Scale(type="log", base=2), axis=alt.Axis(title="budget, generations"))
            caption = "Of five bins of problems by the policy's pass rate, 1 the easiest."
            shown.append(
                Picture(f"bin-{b + 1}", f"Difficulty bin {b + 1}", caption, line_chart(lines, x, []), tuple(lines))
            )
    return tuple(shown)


def _row(one: Point, x: float) -> dict[str, Any]:
    return {"x": x, "y": one.accuracy, "low": one.low, "high": one.high, "tip": _tip(one)}


def _tip(one: Point) -> dict[str, str]:
    return {
        "title": one.strategy,
        "budget": str(one.budget),
        "accuracy": f"{100 * one.accuracy:.1f} % [{100 * one.low:.1f}, {100 * one.high:.1f}]",
        "tokens": f"{one.tokens:,.0f}",
        "FLOPs": f"{one.flops:.3g}",
    }


def told(points: Sequence[Point], findings: Sequence[Finding]) -> str:
    """Both tables, as Markdown."""
    rows = ["| strategy | budget | tokens | FLOPs | accuracy, % | bins 1 to 5, % |", "|---|---|---|---|---|---|"]
    for one in points:
        bins = " ".join("-" if math.isnan(value) else f"{100 * value:.0f}" for value in one.by_bin)
        accuracy = f"{100 * one.accuracy:.1f} [{100 * one.low:.1f}, {100 * one.high:.1f}]"
        rows.append(f"| {one.strategy} | {one.budget} | {one.tokens:,.0f} | {one.flops:.3g} | {accuracy} | {bins} |")
    rows += ["", "| the paper | here | difference [95 %] | |", "|---|---|---|---|"]
    for found in findings:
        rows.append(
            f"| {found.paper} | {found.measured} | {found.value:+.3f} [{found.low:+.3f}, {found.high:+.3f}] | "
            f"{found.verdict} |"
        )
    return "\n".join(rows)


def main(args: SearchFigures) -> None:
    if args.judge.reward is None:
        raise InputError("no reward model", remedy="give --reward DIR, or noisy")
    figures = Figures(args, asyncio.run(searched(args)))
    points, findings = figures.points(), figures.findings()
    text = told(points, findings)
    print(text)
    said = {
        "settings": asdict(args),
        "points": [asdict(one) for one in points],
        "findings": [asdict(one) for one in findings],
    }
    with replacing(args.out / "figures.json") as file:
        file.write(json.dumps(said, indent=1, default=str).encode() + b"\n")
    counts = {
        verdict: sum(one.verdict == verdict for one in findings) for verdict in ("confirmed", "contradicted", "open")
    }
    report = Report(
        title="Test-time search on Quantities",
        headline="The paper's findings: " + ", ".join(f"{count} {verdict}" for verdict, count in counts.items()) + ".",
        facts={"problems": str(args.problems), "seeds": str(args.seeds), "reward model": str(args.judge.reward)},
        pictures=pictures(points),
        curves=(),
        differences=(),
        solutions=(),
        notes=tuple(
            f"{one.paper}. Here: {one.measured} {one.value:+.3f} [{one.low:+.3f}, {one.high:+.3f}]: {one.verdict}."
            for one in findings
        ),
        provenance={name: str(value) for name, value in asdict(args).items()},
    )
    print(write(report, args.out))


if __name__ == "__main__":
    main(tyro.cli(SearchFigures, config=(tyro.conf.OmitArgPrefixes,)))
