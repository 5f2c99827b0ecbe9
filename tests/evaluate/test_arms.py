"""Figures from recorded searches, on a policy whose truth is known."""

import asyncio
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from stepmark.budget.exchange import match
from stepmark.budget.flops import ModelSize, flops
from stepmark.errors import InputError
from stepmark.evaluate.arms import looked, pool, right, spent, table
from stepmark.evaluate.optimal import counted, follow
from stepmark.evaluate.pool import compare
from stepmark.evaluate.searches import exchange
from stepmark.records import Run
from stepmark.rewards.base import NoisyReward
from stepmark.search.account import Budget, Models
from stepmark.search.beam import Beam
from stepmark.search.parallel import Parallel
from stepmark.search.replay import replay
from stepmark.search.simulated import SimulatedPolicy, SimulatedReward, straight
from stepmark.search.solve import Searches, Setup, read_searches, solve
from stepmark.types import Problem

SIZE = ModelSize(body=100, head=10, layers=2, width=8)
MODELS = Models(SIZE, SIZE)
CHAIN = straight(0.6, 3)
PROBLEMS = [Problem(str(i), "where to?", "1", "simulated") for i in range(12)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """best-of-1 to 8 and beams of 4, two seeds each."""
    made: dict[str, Searches] = {}
    for seed in (0, 1):
        for name, settings in {
            "one": Parallel(n=1, seed=seed, models=MODELS),
            "four": Parallel(n=4, seed=seed, models=MODELS),
            "eight": Parallel(n=8, seed=seed, models=MODELS),
            "beam": Beam(n=4, m=2, seed=seed, models=MODELS),
        }.items():
            made[f"{name} {seed}"] = searched(tmp_path_factory.mktemp("runs") / name, settings)
    return made


def searched(path, settings, problems=PROBLEMS):
    reward = NoisyReward(SimulatedReward(CHAIN), noise=1.0)
    setup = Setup(type(settings).__name__.lower(), settings, {"name": "simulated"}, {"name": "noisy"})
    with Run.open(path, setup) as run:
        for problem in problems:
            run.append("problems", problem)
        asyncio.run(solve(run, problems, SimulatedPolicy(CHAIN), reward, setup))
    return read_searches(path)


def test_runs_that_differ_by_seed_alone_are_one_arm(runs):
    found = table(list(runs.values()), "tokens")
    assert found.names == ("best-of-n n=1", "best-of-n n=4", "best-of-n n=8", "beam m=2 n=4")
    for a, name in enumerate(("one", "four", "eight", "beam")):
        both = [runs[f"{name} {seed}"] for seed in (0, 1)]
        np.testing.assert_array_equal(found.values_P_A[:, a], np.mean([right(run) for run in both], axis=0))
        tokens = [[sum(node.cost.generated for node in one.nodes) for one in run.results] for run in both]
        np.testing.assert_array_equal(found.costs_P_A[:, a], np.mean(tokens, axis=0))


def test_each_unit_is_what_the_account_counts(runs):
    run = runs["beam 0"]
    assert spent(run, "generations") == [4.0] * len(PROBLEMS)
    counted = [sum(flops(SIZE, node.cost) + flops(SIZE, node.scoring) for node in one.nodes) for one in run.results]
    assert spent(run, "flops") == pytest.approx(counted)


def test_the_look_is_the_first_solutions_and_their_cost(runs):
    run = runs["eight 0"]
    ease, costs = looked(run, "predicted", 4, "tokens")
    firsts = [one.nodes[:4] for one in run.results]
    assert ease == pytest.approx([np.mean([node.value for node in nodes]) for nodes in firsts])
    assert costs.sum(axis=1).tolist() == [sum(node.cost.generated for node in nodes) for nodes in firsts]
    oracle, _ = looked(run, "oracle", 8, "generations")
    assert oracle == [np.mean([node.answer == "1" for node in one.nodes]) for one in run.results]
    with pytest.raises(InputError, match="no 9 independent"):
        looked(run, "oracle", 9, "tokens")
    with pytest.raises(InputError, match="no 4 independent"):
        looked(runs["beam 0"], "oracle", 4, "tokens")


def test_a_pool_of_independent_solutions_gives_every_smaller_n_in_expectation(runs):
    """At n = N it is the run itself; at n < N the mean over all subsets, of which the replay of the first n is one."""
    run = runs["eight 0"]
    graded, scored = pool(run, "noisy")
    compared = compare(graded, [scored], ns=[4, 8])
    [curve] = [one for one in compared.curves if one.method == "best_of_n"]
    assert curve.points[1].accuracy == pytest.approx(np.mean(right(run)))
    assert curve.points[1].generated == pytest.approx(np.mean(spent(run, "tokens")))
    was, now = Parallel(n=8, models=MODELS), Parallel(n=4, models=MODELS)

    async def first():
        pairs = zip(run.problems, run.results, strict=True)
        return [await replay(problem, result, was, now) for problem, result in pairs]

    assert asyncio.run(first()) == list(runs["four 0"].results)


def test_solutions_that_hang_on_each_other_are_no_pool(runs, tmp_path):
    with pytest.raises(InputError, match="no smaller search"):
        pool(runs["beam 0"], "noisy")
    with pytest.raises(InputError, match="ended some"):
        pool(searched(tmp_path / "cut", Parallel(n=8, budget=Budget(tokens=60))), "noisy")


def test_runs_that_cannot_be_compared_are_refused(runs, tmp_path):
    few = searched(tmp_path / "few", Parallel(n=2), PROBLEMS[:3])
    for given, why in (
        ([], "no runs"),
        ([runs["one 0"], few], "9 missing"),
        ([runs["one 0"], runs["one 1"], runs["one 0"]], "the same search"),
    ):
        with pytest.raises(InputError, match=why):
            table(given, "tokens")
    with pytest.raises(InputError, match="sizes are not known"):
        table([searched(tmp_path / "sizeless", Parallel(n=2))], "flops")


def test_the_order_of_problems_is_no_part_of_a_run(runs, tmp_path):
    turned = searched(tmp_path / "turned", Parallel(n=4, seed=0, models=MODELS), PROBLEMS[::-1])
    one, other = (table([runs["one 0"], run], "tokens") for run in (turned, runs["four 0"]))
    np.testing.assert_array_equal(one.values_P_A, other.values_P_A)
    np.testing.assert_array_equal(one.costs_P_A, other.costs_P_A)


def test_the_look_costs_where_its_solutions_are_not_used(runs):
    """With a budget of eight generations and four for the look, a beam of four fits and is charged eight."""
    found = table(list(runs.values()), "generations")
    ease, look_P_2 = looked(runs["eight 0"], "predicted", 4, "generations")
    reuses = [False, True, True, False]
    free = follow(found, ease, [4.0, 8.0], count=2)
    paid = follow(found, ease, [4.0, 8.0], count=2, look_P_2=look_P_2, reuses_A=reuses)
    assert set(paid.held.arms_P_K[:, 0]) == {1}
    assert free.optimal.costs_K[0] <= 4
    assert (paid.optimal.costs_K <= [4.0, 8.0]).all()
    chosen = paid.held.arms_P_K[:, 1]
    assert paid.optimal.costs_K[1] == pytest.approx(np.mean([{0: 5, 1: 4, 2: 8, 3: 8}[arm] for arm in chosen]))
    assert free.baseline.costs_K.tolist() == [1, 4, 8]
    assert free.optimal.accuracy_K[0] == pytest.approx(free.held.of(found.values_P_A)[:, 0].mean())


def test_a_majority_of_the_looks_own_solutions_pays_for_their_judging(runs):
    """It draws them anyway, and does not ask what they are worth; the look does."""
    was, now = Parallel(n=8, models=MODELS), Parallel(n=8, choose="majority", models=MODELS)
    pairs = zip(runs["eight 0"].problems, runs["eight 0"].results, strict=True)

    async def voted():
        return [await replay(problem, result, was, now) for problem, result in pairs]

    results = tuple(asyncio.run(voted()))
    majority = replace(
        runs["eight 0"], setup=replace(runs["eight 0"].setup, settings=now), results=results, path=Path("majority")
    )
    found = table([runs["eight 0"], majority], "flops")
    _, look_P_2 = looked(runs["eight 0"], "predicted", 4, "flops")
    judged_P, majority_P = look_P_2[:, 1], [not one.scored for one in found.settings].index(True)
    assert (judged_P > 0).all()
    on_top_P_A = counted(found, look_P_2, [True, True]) - found.costs_P_A
    np.testing.assert_allclose(on_top_P_A[:, majority_P], judged_P)
    np.testing.assert_array_equal(on_top_P_A[:, 1 - majority_P], 0)


def test_a_larger_policy_is_exchanged_for_more_inference(runs, tmp_path):
    """Four times as large, it is greedy; the small one has its curve of best-of-N at the tokens that are left to it."""
    large = searched(tmp_path / "large", Parallel(n=1, models=Models(replace(SIZE, body=400, head=40), SIZE)))
    small = [runs[f"{name} {seed}"] for name in ("one", "four", "eight") for seed in (0, 1)]
    sizes = list(zip(small[::2], small[1::2], strict=True))
    curve = [np.mean([right(run) for run in seeds]) for seeds in sizes]
    tokens = [np.mean([spent(run, "tokens") for run in seeds]) for seeds in sizes]
    wrote, solves = np.mean(spent(large, "tokens")), np.mean(right(large))
    rows = exchange(small, large, [0.5, 3.0, 1e9])
    assert [one.match.exchange.factor for one in rows] == pytest.approx([4 + 18, 4 + 3, 4])
    for one in rows:
        expected = match(tokens, curve, solves, wrote, one.match.exchange)
        assert (one.match.small, one.match.large) == pytest.approx((expected.small, expected.large))
        assert one.low <= one.match.small - one.match.large <= one.high
    assert [one.match.measured for one in rows] == [False, True, True]
    with pytest.raises(InputError, match="the size of its policy is not known"):
        exchange(small, searched(tmp_path / "sizeless", Parallel(n=1)), [1.0])


def test_a_choice_among_best_of_n_alone_saves_nothing(runs):
    """The compute-optimal choice is then best-of-N itself: one times cheaper, in every resample."""
    only = table([runs["four 0"]], "generations")
    ease, _ = looked(runs["four 0"], "predicted", 4, "generations")
    [one] = follow(only, ease, [4.0], count=2).savings
    assert (one.factor, one.low, one.high, one.reached) == (1, 1, 1, 1)
