"""Does a policy revise, and how are attempts best split into chains? From runs of one policy on the same problems:

    for chains in 1 2 4 16; do
        stepmark search --strategy revise --n 16 --chains $chains --context 2 --temperature 1 --max-tokens 160 \
            --policy runs/revision/model --reward bundled --problems p.jsonl --out runs/revise-$chains
    done
    python -m recipes.revision_figures runs/revise-*

The first table has, for each place in a chain, the share of attempts that are right, of right ones that the next
attempt spoils (38 % in Snell et al. 2024, arXiv 2408.03314, section 6.1), and of wrong ones that it mends. The second
has each split's accuracy when the answer is chosen by the reward model or by vote, within the chains and across them,
replayed from the record, and the difference from the run of the most chains by the same choice. Intervals (95 %) are
over problems, paired for differences.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from recipes.search_findings import BOOTSTRAP, gap
from stepmark.errors import InputError
from stepmark.evaluate.arms import aligned, right
from stepmark.evaluate.intervals import Floats, accuracy_interval, figure, resample
from stepmark.grading import grade
from stepmark.search.choose import Choice
from stepmark.search.replay import replay_run
from stepmark.search.revise import Revise
from stepmark.search.solve import Searches, read_searches
from stepmark.search.tree import SearchResult
from stepmark.types import Problem

CHOICES: tuple[Choice, ...] = ("weighted", "best", "majority")


@dataclass(frozen=True)
class RevisionFigures:
    """Accuracy along chains of attempts, and of each split of the attempts into chains."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """runs of stepmark search --strategy revise"""
    shown: int = 8
    """places in a chain to print"""


def chains(problem: Problem, result: SearchResult) -> list[list[bool]]:
    """Whether each attempt of each chain is right, in their order. One that was cut has no answer, and is not."""
    found: list[list[bool]] = []
    chain_of: list[int] = []
    for node in result.nodes:
        if node.revises is None:
            chain_of.append(len(found))
            found.append([])
        else:
            chain_of.append(chain_of[node.revises])
        found[chain_of[-1]].append(grade(problem, node.answer).correct)
    return found


def share(counts_P_2: Floats) -> str:
    """The ratio of two counts, summed over the problems, with its interval; a dash where the second is 0."""
    part, whole = counts_P_2.sum(axis=0)
    if not whole:
        return "-"
    resampled_B_2 = resample(counts_P_2, BOOTSTRAP)
    with np.errstate(invalid="ignore"):  # a resample may have none
        known = figure(part / whole, resampled_B_2[:, 0] / resampled_B_2[:, 1], BOOTSTRAP.level)
    assert known is not None
    return f"{100 * known.value:5.1f} [{100 * known.low:.1f}, {100 * known.high:.1f}]"


def along(run: Searches, shown: int) -> list[str]:
    """A row for each place in a chain."""
    right_P_C = [chains(problem, result) for problem, result in zip(run.problems, run.results, strict=True)]
    rows = []
    for k in range(min(shown, max(len(chain) for right_C in right_P_C for chain in right_C))):
        counts = np.zeros((3, len(right_P_C), 2))
        for p, right_C in enumerate(right_P_C):
            for chain in right_C:
                if k < len(chain):
                    counts[0, p] += (chain[k], 1)
                if k + 1 < len(chain):
                    counts[1 if chain[k] else 2, p] += (chain[k + 1] != chain[k], 1)
        rows.append(f"{k + 1:7}   " + "".join(share(one).ljust(24) for one in counts))
    return rows


def splits(runs: Sequence[Searches]) -> list[str]:
    """A row for each run and choice, the most chains first."""
    rows = []
    for choice in CHOICES:
        values = {}
        for run in runs:
            now = replace(run.setup.settings, choose=choice, within=choice)
            values[run.setup.settings.chains] = np.array(right(asyncio.run(replay_run(run, now))), dtype=float)
        base = values[max(values)]
        for count in sorted(values, reverse=True):
            column = values[count][:, None]
            low, high = accuracy_interval(column, resample(column, BOOTSTRAP), BOOTSTRAP.level)
            more, least, most = gap(values[count], base)
            rows.append(
                f"{choice:10}{count:8}   {100 * column.mean():5.1f} [{100 * low[0]:.1f}, {100 * high[0]:.1f}]".ljust(46)
                + f"{100 * more:+5.1f} [{100 * least:+.1f}, {100 * most:+.1f}]"
            )
    return rows


def main(args: RevisionFigures) -> None:
    runs = aligned([read_searches(path) for path in args.runs])
    first = runs[0].setup
    for run in runs:
        settings = run.setup.settings
        if not isinstance(settings, Revise):
            raise InputError(f"{run.setup.strategy} has no chains", path=run.path, remedy="give runs of revise")
        if run.setup.policy != first.policy or replace(settings, chains=first.settings.chains) != first.settings:
            raise InputError(
                f"it differs from {runs[0].path} in more than its chains", path=run.path, remedy="search alike"
            )
    for run in runs:
        count = run.setup.settings.chains
        if count < run.setup.settings.n:
            print(f"chains of {run.setup.settings.n // count} attempts, {count} side by side")
            print("attempt   " + "".join(f"{name:24}" for name in ("right, %", "spoiled, %", "mended, %")))
            print("\n".join(along(run, args.shown)) + "\n")
    print("choice      chains   right, %                  over the most chains")
    print("\n".join(splits(runs)))


if __name__ == "__main__":
    main(tyro.cli(RevisionFigures))
