"""Every search strategy at every budget, on Quantities with the bundled policy and a reward model: accuracy against
generated tokens and against FLOPs, by difficulty, and the findings of Snell et al. 2024 (arXiv 2408.03314) one by one.

    python -m recipes.search_figures --out runs/search --reward runs/prm --problems 500 --seeds 3 \
        --budgets 4,8,16,32,64,128,256 --revision runs/revision/model

A budget is a number of generations, as in the paper: steps sampled at one depth. All strategies draw at one temperature
and choose by a vote weighted by the same aggregation of scores, unless they are defined by another choice. What a
strategy draws first whatever its budget (independent solutions, DVTS's subtrees, the paths of MCTS) is drawn once, for
the largest budget: smaller ones and other choices are replayed from the record, and equal fresh runs. With --revision,
a policy that revises (`recipes.revision_policy`) writes N attempts one after the other, in the square root of N chains,
or all side by side. Each strategy, budget and seed has a run of its own below --out; an interrupted recipe goes on
where it was. It writes `figures.json`, `report.html` and `pictures/`. How figures are computed is said in
`recipes.search_findings`.
"""

import asyncio
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from recipes.search_findings import BEST, CHAIN, CHAINS, MAJOR, SIDE_BY_SIDE, VOTED, WEIGHTED, Figures
from recipes.search_pictures import pictures, told
from stepmark.cli.models import PolicyOptions, RewardOptions
from stepmark.errors import InputError
from stepmark.policies.base import Policy
from stepmark.problems import quantities, record
from stepmark.records import Run, replacing
from stepmark.report import Report, write
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.base import RewardModel
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
from stepmark.search.replay import replay_run
from stepmark.search.revise import Revise
from stepmark.search.settings import Settings
from stepmark.search.solve import Searches, Setup, read_searches, solve
from stepmark.types import Problem

CHOICES: Mapping[str, Choice] = {BEST: "best", WEIGHTED: "weighted", MAJOR: "majority"}
"""of independent solutions"""
NESTED = {"DVTS", "MCTS", "adaptive majority"}
"""whose smaller searches are the beginnings of larger ones"""
ROOT = "beam, M = root of N"
"""which at a budget of 16 is beam itself"""
Found = dict[tuple[str, int], list[Searches]]
"""by strategy and budget, one for each seed"""


@dataclass(frozen=True)
class SearchFigures:
    """All strategies at all budgets, and the paper's findings."""

    out: Path
    """directory of the runs and figures; run again after an interruption, it goes on"""
    judge: Annotated[RewardOptions, tyro.conf.arg(name="")] = field(default_factory=RewardOptions)
    revision: Path | None = None
    """directory of a policy that revises; without it there is no revision among the strategies"""
    context: int = 2
    """earlier attempts that it sees"""
    problems: int = 500
    budgets: str = "4,8,16,32,64,128,256"
    """generations, with commas between"""
    seeds: int = 3
    aggregate: Aggregation = "last"
    """of step scores, in all strategies: the paper's; for labels of each step's own correctness min or product"""
    temperature: float = 1.0
    max_tokens: int = 160
    """of a solution"""
    processes: int = 1
    """that search; on a CPU as many as there are cores"""
    strategies: str = ""
    """only these, with semicolons between, beside best-of-N and revision; all by default. beam is among the paper's
    findings"""

    @property
    def sizes(self) -> list[int]:
        """Raises InputError for budgets that the strategies cannot be split into."""
        sizes = sorted({int(part) for part in self.budgets.split(",") if part.strip().isdigit()})
        if not sizes or any(size % 4 or size == 0 for size in sizes):
            raise InputError(f"--budgets {self.budgets!r}", remedy="give multiples of 4, with commas between")
        return sizes

    def common(self, models: Models, seed: int) -> dict[str, Any]:
        """The settings that all strategies share."""
        return {
            "aggregate": self.aggregate,
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
            "models": models,
            "seed": seed,
        }


def growing(args: SearchFigures, budget: int, common: dict[str, Any]) -> dict[str, Settings]:
    """The strategies that grow by scores, or by votes, each with settings that sample `budget` steps at a depth."""
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
        made[ROOT] = Beam(n=budget, m=math.isqrt(budget), **common)
    if args.strategies:
        wanted = [name.strip() for name in args.strategies.split(";")]
        if unknown := sorted(set(wanted) - made.keys() - {ROOT}):
            raise InputError(f"no strategy {unknown[0]!r}", remedy=f"there are: {'; '.join(made)}")
        made = {name: settings for name, settings in made.items() if name in wanted}
    return made


@dataclass(frozen=True)
class Searcher:
    """What searches: one policy and the reward model, on the same problems."""

    args: SearchFigures
    problems: Sequence[Problem]
    by: PolicyOptions
    policy: Policy
    reward: RewardModel | None

    @property
    def models(self) -> Models:
        size = self.by.size(None)
        assert size is not None  # of a model that is no server's
        return Models(size, self.args.judge.size())

    async def run(self, name: str, settings: Settings, budget: int) -> Searches:
        """One run, on record."""
        setup = Setup(type(settings).__name__.lower(), settings, self.by.told(), self.args.judge.told())
        path = self.args.out / f"{re.sub('[^a-zA-Z0-9]+', '-', name)}-{budget}-{settings.seed}"
        with Run.open(path, setup, compressed=True) as run:
            record(run, self.problems)
            await solve(run, self.problems, self.policy, self.reward, setup)
        print(path, flush=True)
        return read_searches(path)


async def searched(args: SearchFigures) -> Found:
    """The runs of every strategy and budget, one for each seed."""
    chosen = list(quantities.generate("test", args.problems, seed=11))
    found: Found = {}
    with args.judge.open(chosen, args.processes) as reward:
        by = PolicyOptions(processes=args.processes)
        async with by.open() as policy:
            await unrevised(Searcher(args, chosen, by, policy, reward), found)
        if args.revision is not None:
            by = PolicyOptions(policy=str(args.revision), dtype="float32", processes=args.processes)
            async with by.open() as policy:
                await revised(Searcher(args, chosen, by, policy, reward), found)
    return found


async def unrevised(searcher: Searcher, found: Found) -> None:
    """Independent solutions, and the strategies that grow."""
    args, most = searcher.args, searcher.args.sizes[-1]
    for seed in range(args.seeds):
        common = args.common(searcher.models, seed)
        drawn = Parallel(n=most, choose="best", **common)
        independent = await searcher.run("parallel", drawn, most)
        widest = {
            name: await searcher.run(name, settings, most)
            for name, settings in growing(args, most, common).items()
            if name in NESTED
        }
        for budget in args.sizes:
            for name, choose in CHOICES.items():
                now = replace(drawn, n=budget, choose=choose)
                found.setdefault((name, budget), []).append(await replay_run(independent, now))
            for name, settings in growing(args, budget, common).items():
                if name in NESTED:
                    run = await replay_run(widest[name], settings)
                else:
                    run = await searcher.run(name, settings, budget)
                found.setdefault((name, budget), []).append(run)


async def revised(searcher: Searcher, found: Found) -> None:
    """N attempts of a policy that revises, in one chain, in about the root of N chains, and side by side."""
    args, most = searcher.args, searcher.args.sizes[-1]
    for seed in range(args.seeds):
        common = args.common(searcher.models, seed)
        alone = Revise(n=most, chains=1, context=args.context, **common)
        together = Parallel(n=most, **common)
        chain = await searcher.run(CHAIN, alone, most)
        parallel = await searcher.run(SIDE_BY_SIDE, together, most)
        for budget in args.sizes:
            several = max(chains for chains in range(1, math.isqrt(budget) + 1) if budget % chains == 0)
            runs = {
                CHAIN: await replay_run(chain, replace(alone, n=budget)),
                VOTED[CHAIN]: await replay_run(chain, replace(alone, n=budget, choose="majority", within="majority")),
                CHAINS: await searcher.run(CHAINS, replace(alone, n=budget, chains=several), budget),
                SIDE_BY_SIDE: await replay_run(parallel, replace(together, n=budget)),
                VOTED[SIDE_BY_SIDE]: await replay_run(parallel, replace(together, n=budget, choose="majority")),
            }
            for name, run in runs.items():
                found.setdefault((name, budget), []).append(run)


def main(args: SearchFigures) -> None:
    if args.judge.reward is None:
        raise InputError("no reward model", remedy="give --reward DIR, or noisy")
    figures = Figures(asyncio.run(searched(args)))
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
