"""Runs of searches compared: pooled by seed, paired by problem, refused where the problems differ."""

import math
from dataclasses import replace
from pathlib import Path

import pytest

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap
from stepmark.evaluate.searches import compare
from stepmark.search.account import Budget, Flops
from stepmark.search.beam import Beam
from stepmark.search.lookahead import Lookahead
from stepmark.search.parallel import Parallel
from stepmark.search.rebase import Rebase
from stepmark.search.solve import Searches, Setup
from stepmark.search.tree import SearchResult
from stepmark.types import Cost, Problem

PROBLEMS = tuple(Problem(f"p{i}", f"{i}?", "1", "test", level=1 + i % 2) for i in range(40))
NAMES = {Beam: "beam", Parallel: "parallel", Lookahead: "lookahead", Rebase: "rebase"}


def run(settings, right, *, generated=100, flops=None, problems=PROBLEMS, policy="bundled"):
    """A run that solves the problems for which `right(i)`."""
    results = tuple(
        SearchResult(
            problem_id=one.id,
            index=0,
            strategy=NAMES[type(settings)],
            answer="1" if right(i) else "2",
            chosen=None,
            nodes=(),
            cost=Cost(prompt=7, generated=generated, requests=2),
            scoring=Cost(scored=30, requests=1),
            generations=4,
            flops=None if flops is None else Flops(flops, 0.0),
            exhausted=False,
        )
        for i, one in enumerate(problems)
    )
    setup = Setup(NAMES[type(settings)], settings, {"name": policy}, {"name": "oracle"})
    path = Path(f"{setup.strategy}-{hash((settings, policy, problems))}")
    return Searches(path, setup, tuple(problems), results, (1.5,) * len(results))


def test_seeds_are_pooled_within_a_problem_before_problems_are_resampled():
    """Two seeds of which each solves the other half of the problems are right in half of every problem: no resampling
    of problems can tell otherwise, while twice as many problems would show a spread."""
    pooled = compare([run(Beam(), lambda i: i % 2 == 0), run(Beam(seed=1), lambda i: i % 2 == 1)])
    [entry] = pooled.entries
    assert (entry.low, entry.accuracy, entry.high) == (0.5, 0.5, 0.5)
    assert entry.seeds == (0, 1)
    assert entry.by_seed == (0.5, 0.5)
    alone = compare([run(Beam(), lambda i: i % 2 == 0)]).entries[0]
    assert alone.high - alone.low > 0.2


def test_the_interval_of_a_difference_is_paired():
    """Two that solve the same problems differ by nothing, however wide their own intervals are."""
    same = compare([run(Beam(), lambda i: i < 20), run(Parallel(), lambda i: i < 20, generated=50)])
    assert [(gap.name, gap.baseline) for gap in same.gaps] == [("beam n=16", "best-of-n n=16")]
    assert (same.gaps[0].difference, same.gaps[0].low, same.gaps[0].high) == (0, 0, 0)


def test_intervals_are_those_of_the_normal_approximation():
    found = compare([run(Beam(), lambda i: i < 20)], bootstrap=Bootstrap(resamples=4000)).entries[0]
    half = 1.96 * math.sqrt(0.25 / 40)
    assert found.low == pytest.approx(0.5 - half, abs=0.02)
    assert found.high == pytest.approx(0.5 + half, abs=0.02)


def test_costs_are_means_of_one_problem_and_the_cheapest_is_the_baseline():
    found = compare([run(Beam(), bool, generated=100, flops=2e9), run(Parallel(), bool, generated=150, flops=1e9)])
    assert found.baseline == "best-of-n n=16"
    beam = next(one for one in found.entries if one.line == "beam")
    assert (beam.generated, beam.scored, beam.prompt, beam.requests, beam.flops) == (100, 30, 7, 3, 2e9)
    unknown = compare([run(Beam(), bool, generated=100), run(Parallel(), bool, generated=150, flops=1e9)])
    assert unknown.baseline == "beam n=16"
    named = [run(Beam(), bool), run(Parallel(), bool)]
    assert compare(named, baseline=named[1].path).baseline == "best-of-n n=16"


def test_levels_are_counted_apart():
    levels = compare([run(Beam(), lambda i: i % 2 == 0)]).entries[0].levels
    assert [(one.level, one.problems, one.accuracy) for one in levels] == [(1, 20, 1.0), (2, 20, 0.0)]
    assert levels[0].low == pytest.approx(0.025 ** (1 / 20))
    bare = tuple(replace(one, level=None) for one in PROBLEMS)
    assert compare([run(Beam(), bool, problems=bare)]).entries[0].levels == ()


def test_names_tell_what_differs_and_lines_join_what_differs_in_size():
    runs = [
        run(Beam(n=4), bool, generated=40),
        run(Beam(n=16), bool, generated=160),
        run(Parallel(choose="majority"), bool),
        run(Parallel(choose="best", budget=Budget(tokens=99)), bool),
        run(Lookahead(k=1), bool),
        run(Lookahead(k=3), bool),
        run(Rebase(balance=0.5), bool),
    ]
    found = compare(runs[::-1])
    assert {one.name: one.line for one in found.entries} == {
        "beam n=4": "beam",
        "beam n=16": "beam",
        "majority vote n=16": "majority vote",
        "best-of-n n=16 budget.tokens=99": "best-of-n",
        "lookahead k=1 n=16": "lookahead k=1",
        "lookahead k=3 n=16": "lookahead k=3",
        "rebase balance=0.5 n=16": "rebase balance=0.5",
    }
    assert [one.name for one in found.entries if one.line == "beam"] == ["beam n=4", "beam n=16"]


def test_two_policies_are_two_entries():
    found = compare([run(Beam(), bool), run(Beam(), bool, policy="/models/large")])
    assert [one.name for one in found.entries] == ["beam of bundled n=16", "beam of large n=16"]


def test_the_order_of_the_problems_does_not_matter():
    """The last problems of the reversed file are the first ones: both runs solve the same."""
    [gap] = compare([run(Beam(), lambda i: i < 20), run(Parallel(), lambda i: i >= 20, problems=PROBLEMS[::-1])]).gaps
    assert (gap.low, gap.high) == (0, 0)


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (PROBLEMS[:39], "1 missing"),
        ((*PROBLEMS, Problem("new", "?", "1", "test")), "1 more"),
        ((*PROBLEMS[:39], replace(PROBLEMS[39], gold="2")), "1 with another question or gold"),
    ],
)
def test_runs_over_different_problems_are_refused(other, words):
    with pytest.raises(InputError, match=words):
        compare([run(Beam(), bool), run(Parallel(), bool, problems=other)])


def test_what_adds_no_evidence_or_is_not_there_is_refused():
    one = run(Beam(), bool)
    with pytest.raises(InputError, match="same search"):
        compare([one, replace(one, path=Path("copy"))])
    with pytest.raises(InputError, match="none of the runs"):
        compare([one], baseline=Path("nowhere"))
    with pytest.raises(InputError, match="no runs"):
        compare([])
