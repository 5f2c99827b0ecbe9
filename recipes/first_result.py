"""The result on which the field rests: a process reward model chooses better than an outcome reward model that was
trained on the same solutions, and that one better than the majority (Let's Verify Step by Step, arXiv 2305.20050,
figure 3; with labels by rollouts Math-Shepherd, arXiv 2312.08935, table 1).

    python -m recipes.first_result --out runs/oracle --labels oracle --problems 3200
    python -m recipes.first_result --out runs/rollout --labels rollout-hard --problems 600 --rollouts 16

prints the figures of docs/log.md: accuracy at 64 candidates, the paired differences, whether the scores see single
numbers and, with rollouts, how often hard estimates agree with the exact oracle.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
import tyro

from stepmark.evaluate.curves import Difference
from stepmark.evaluate.pool import MAJORITY, Key
from stepmark.loop import KINDS, Result, Settings, key, loop
from stepmark.report import write
from stepmark.report.loop import agreement, first_errors, report, steps_of
from stepmark.rewards.auc import auc, within_problem_auc


@dataclass(frozen=True)
class FirstResult:
    """PRM against ORM against majority on the bundled model, 64 candidates for 500 fresh problems."""

    out: Path
    """the run's directory"""
    settings: Annotated[Settings, tyro.conf.arg(name="")] = Settings(problems=1500, tests=500)  # noqa: RUF009
    """sizes of the loop"""


def main(args: FirstResult) -> None:
    began = time.monotonic()
    settings = args.settings
    result = asyncio.run(loop(args.out, settings, lambda line: print(f"{time.monotonic() - began:6.0f} s  {line}")))
    print(
        f"\nAccuracy with {settings.candidates} candidates for {settings.tests} problems, labels by {settings.labels}:"
    )
    for curve in result.comparison.curves:
        point = curve.points[-1]
        name = " ".join(filter(None, (curve.method, curve.scores, curve.aggregate)))
        print(f"  {name:32} {point.accuracy:.4f}  [{point.low:.4f}, {point.high:.4f}]")
    for method in ("best_of_n", "weighted_vote"):
        orm, prm = key(method, "orm", settings), key(method, "prm", settings)
        for one, other in ((prm, orm), (orm, MAJORITY), (prm, MAJORITY)):
            gap = _difference(result, one, other, settings.candidates)
            name = f"{method}: {one[1]} - {other[1] or other[0]}"
            print(f"  {name:32} {gap.difference:+.4f}  [{gap.low:+.4f}, {gap.high:+.4f}]")
    for kind in KINDS:
        scores, right, problems = steps_of(result.fresh, result.scores[kind])
        drops = [drop.value for drop in result.drops[kind]]
        print(
            f"  {kind.upper()}: step AUC {auc(scores, right):.3f}, within a problem "
            f"{within_problem_auc(scores, right, problems):.3f}, sensitivity {np.mean(drops):.3f}, "
            f"first errors {first_errors(result, kind)}"
        )
    for rollouts in (1, 2, 4, 8, 16) if settings.labels != "oracle" else ():
        if rollouts <= settings.rollouts:
            _, agrees = agreement(result.labelled, rollouts)
            print(f"  {rollouts:2} rollouts: {np.mean(agrees):.4f} of {len(agrees):,} hard estimates are the oracle's")
    print(f"report: {write(report(result, settings, 'python -m recipes.first_result'), args.out / 'report')}")


def _difference(result: Result, one: Key, other: Key, n: int) -> Difference:
    return next(
        d
        for d in result.comparison.differences
        if (d.method, d.scores, d.aggregate, d.n) == (*one, n)
        and (d.baseline, d.baseline_scores, d.baseline_aggregate) == other
    )


if __name__ == "__main__":
    main(tyro.cli(FirstResult))
