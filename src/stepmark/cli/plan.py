"""`stepmark plan`: from recorded searches, which strategy to take for which difficulty within which budget."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from stepmark.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table as Shown

    from stepmark.budget.optimal import Choices
    from stepmark.budget.plan import Plan as Written
    from stepmark.evaluate.arms import Table
    from stepmark.evaluate.optimal import Followed, Line
    from stepmark.search.solve import Searches

LOOK = 4
"""solutions of a predicted look, by default"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Chooses a strategy for each bin of difficulty and each budget, from runs of stepmark search on the same problems.

    Give it runs of several strategies, each in several sizes. The first solutions of the largest run of parallel
    measure how hard each problem is. What is printed is cross-validated: each problem's strategy was chosen without its
    half of the problems, so the accuracy is what the plan can be expected to give on new ones; and the saving is how
    many times cheaper it is than best-of-N at the same accuracy. The file holds the choice made on all problems.

    stepmark plan runs/* --budgets 8,16,64 --out plan.json

    stepmark search --strategy auto --plan plan.json --within 16 --reward DIR --problems p.jsonl --out runs/auto

    With --free the look costs nothing, as in the paper; otherwise its cost is part of every budget, except where the
    strategy draws the same solutions anyway.
    """

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """directories of runs of stepmark search; those that differ by their seeds alone are averaged"""
    out: Path
    """the plan, JSON"""
    budgets: str = "4,16,64"
    """per problem, with commas between"""
    unit: Literal["generations", "tokens", "flops"] = "generations"
    """of the budgets: steps sampled at one depth, generated tokens, or FLOPs of both models"""
    measure: Literal["predicted", "oracle"] = "predicted"
    """difficulty by the reward model's scores, or by right answers: that cannot be followed, only looked at, and it
    flatters, for the answers that put a problem into its bin are among those that are counted as right"""
    samples: int | None = None
    """solutions that measure it; by default 4 where it is predicted, and all there are by the oracle"""
    free: bool = False
    """do not count what the look costs"""
    baseline: Literal["best", "weighted", "majority"] = "best"
    """the choice by which runs of parallel are the baseline"""
    bins: int = 5
    """of difficulty, with as many problems in each"""
    folds: int = 2
    """parts of the problems: the choice for one is made on the others"""
    seed: int = 0
    """of the folds"""

    def run(self) -> int:
        import rich

        from stepmark.budget.optimal import choose
        from stepmark.budget.plan import write_plan
        from stepmark.evaluate.arms import aligned, looked, table
        from stepmark.evaluate.optimal import counted, follow
        from stepmark.search.auto import reuses
        from stepmark.search.solve import read_searches

        budgets = self._budgets()
        if self.samples is not None and self.samples < 1:
            raise InputError("a look at no solution", remedy="give at least 1 of --samples")
        runs = aligned([read_searches(path) for path in self.runs])
        figures = table(runs, self.unit)
        probe, samples = self._probe(runs)
        ease_P, look_P_2 = looked(probe, self.measure, samples, self.unit)
        paid_P_2 = None if self.free else look_P_2
        small = replace(probe.setup.settings, n=samples)
        reuses_A = [reuses(small, one) for one in figures.settings]
        found = follow(
            figures,
            ease_P,
            budgets,
            look_P_2=paid_P_2,
            reuses_A=reuses_A,
            baseline=self.baseline,
            count=self.bins,
            folds=self.folds,
            seed=self.seed,
        )
        made = choose(figures.values_P_A, counted(figures, paid_P_2, reuses_A), ease_P, budgets, count=self.bins)
        plan = self._plan(runs, figures, probe=probe, samples=samples, budgets=budgets, made=made, found=found)
        write_plan(self.out, plan)
        for shown in (_expected(budgets, found, self.unit), _choices(budgets, made, figures)):
            rich.print(shown)
        print(f"{self.out}: from {len(runs)} runs of {len(figures.problems)} problems; baseline: {self._base()}")
        return 0

    def _budgets(self) -> list[float]:
        try:
            return sorted({float(part) for part in self.budgets.split(",")})
        except ValueError:
            raise InputError(f"--budgets {self.budgets!r}", remedy="give numbers with commas between") from None

    def _probe(self, runs: list[Searches]) -> tuple[Searches, int]:
        """The run whose solutions measure difficulty, and how many of them."""
        from stepmark.search.parallel import Parallel

        def fit(run: Searches) -> bool:
            settings = run.setup.settings
            return isinstance(settings, Parallel) and (settings.scored or self.measure == "oracle")

        largest = max(filter(fit, runs), key=lambda run: int(run.setup.settings.n), default=None)
        if largest is None:
            raise InputError("no run measures difficulty", remedy="add a run of parallel, with scores for predicted")
        n = int(largest.setup.settings.n)
        if self.samples is not None:
            return largest, self.samples
        return largest, n if self.measure == "oracle" else min(LOOK, n)

    def _plan(
        self,
        runs: list[Searches],
        figures: Table,
        *,
        probe: Searches,
        samples: int,
        budgets: list[float],
        made: Choices,
        found: Followed,
    ) -> Written:
        from stepmark.budget import plan
        from stepmark.evaluate.arms import arm_of
        from stepmark.records import digest

        line = found.optimal
        rows = zip(line.accuracy_K, line.low_K, line.high_K, line.costs_K, strict=True)
        scored = [run.setup.reward for run in runs if run.setup.settings.scored]
        return plan.Plan(
            measure=self.measure,
            samples=samples,
            probe=arm_of(probe).settings,
            counted=not self.free,
            unit=self.unit,
            edges=made.bins.edges,
            budgets=tuple(budgets),
            arms=figures.arms,
            choices=tuple(tuple(row) for row in made.arms_B_K.tolist()),
            expected=tuple(plan.Expected(*map(float, row)) for row in rows),
            policy=probe.setup.policy,
            reward=scored[0] if scored else None,
            runs={str(run.path): digest(next(run.path.glob("searches.jsonl*"))) for run in runs},
            problems=len(figures.problems),
        )

    def _base(self) -> str:
        return f"parallel --choose {self.baseline}"


def _expected(budgets: list[float], found: Followed, unit: str) -> Shown:
    """What the plan gives on problems that it was not chosen on."""
    from rich import box
    from rich.table import Table as Shown

    shown = Shown(box=box.SIMPLE, pad_edge=False, title="cross-validated, against each point of the baseline")
    for head in ("budget", f"mean {unit}", "accuracy, %", f"baseline: mean {unit}", "accuracy, %", "times cheaper"):
        shown.add_column(head, justify="right")
    for k in range(max(len(budgets), len(found.savings))):
        left, right = ["", "", ""], ["", "", ""]
        if k < len(budgets):
            left = [f"{budgets[k]:g}", f"{found.optimal.costs_K[k]:.4g}", _interval(found.optimal, k)]
        if k < len(found.savings):
            one = found.savings[k]
            often = f"{one.low:.2g}-{one.high:.2g}, in {one.reached:.0%}" if one.reached else "in no resample"
            factor = "not reached" if one.factor != one.factor else f"{one.factor:.2g}"
            right = [f"{one.cost:.4g}", _interval(found.baseline, k), f"{factor} [dim]{often}[/]"]
        shown.add_row(*left, *right)
    return shown


def _interval(line: Line, k: int) -> str:
    accuracy, low, high = (100 * float(values[k]) for values in (line.accuracy_K, line.low_K, line.high_K))
    return f"{accuracy:.1f} [dim]{low:.1f}-{high:.1f}[/]"


def _choices(budgets: list[float], made: Choices, figures: Table) -> Shown:
    from rich import box
    from rich.table import Table as Shown

    shown = Shown(box=box.SIMPLE, pad_edge=False, title="the choice on all problems, the easiest bin first")
    for head in ("bin", *(f"budget {budget:g}" for budget in budgets)):
        shown.add_column(head)
    for number, row in enumerate(made.arms_B_K.tolist(), 1):
        shown.add_row(str(number), *(figures.names[arm] for arm in row))
    return shown
