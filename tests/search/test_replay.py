"""A replay is the fresh run with its settings, or it is refused."""

import asyncio
from dataclasses import replace

import pytest

from stepmark.errors import ReplayError
from stepmark.rewards.base import NoisyReward
from stepmark.search.account import Budget
from stepmark.search.adaptive import Adaptive
from stepmark.search.auto import Auto
from stepmark.search.beam import Beam
from stepmark.search.dvts import Dvts
from stepmark.search.lookahead import Lookahead
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.particles import Particles
from stepmark.search.rebase import Rebase
from stepmark.search.rejection import Rejection
from stepmark.search.replay import replay
from stepmark.search.revise import Revise
from stepmark.search.simulated import START, Chain, SimulatedPolicy, SimulatedReward
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Cost, Problem

CHAIN = Chain(
    {
        START: {"up1": 0.5, "down1": 0.5},
        "up1": {"up2": 0.7, "down2": 0.3},
        "down1": {"up2": 0.4, "down2": 0.6},
    },
    {"up2": {"1": 0.6, "0": 0.4}, "down2": {"1": 0.3, "0": 0.3, "2": 0.4}},
    revises={"down2": "up1"},
)
REWARD = NoisyReward(SimulatedReward(CHAIN), noise=2.0)
OTHER = NoisyReward(SimulatedReward(CHAIN), noise=2.0, seed=1)
SMALL = [
    Adaptive(n=8, batch=3, choose="weighted"),
    Beam(n=8, m=2),
    Dvts(n=8, m=4),
    Lookahead(n=6, m=2, k=1),
    Mcts(paths=3, width=3),
    Mcts(paths=3, width=3, value="rollout"),
    Parallel(n=8),
    Particles(n=6),
    Rebase(n=8),
    Rejection(n=8, every=1),
    Revise(n=8, chains=2),
]
FREE = [one for one in SMALL if isinstance(one, Adaptive | Parallel | Revise)]
PROBLEMS = [Problem(str(i), "where to?", "1", "simulated") for i in range(6)]


def fresh(settings, reward=REWARD):
    name = next(name for name, (_, kind) in STRATEGIES.items() if kind is type(settings))
    policy = SimulatedPolicy(CHAIN, wordings=3)  # few wordings: copies occur

    async def every():
        return await asyncio.gather(*(STRATEGIES[name][0](one, policy, reward, settings) for one in PROBLEMS))

    return asyncio.run(every())


def replayed(was, now, *, before=REWARD, reward=None):
    async def every():
        results = zip(PROBLEMS, fresh_results, strict=True)
        return [await replay(problem, result, was, now, reward=reward) for problem, result in results]

    fresh_results = fresh(was, before)
    return asyncio.run(every())


def test_every_strategy_is_replayed():
    assert {type(settings) for settings in SMALL} == {kind for _, kind in STRATEGIES.values()} - {Auto}


@pytest.mark.parametrize("settings", SMALL, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("choose", ["best", "weighted", "majority"])
def test_another_choice_is_the_fresh_run_with_it(settings, choose):
    """All of it: the tree, the chosen node, the account; the first time for the choice that was recorded itself."""
    assert replayed(settings, replace(settings, choose=choose)) == fresh(replace(settings, choose=choose))


@pytest.mark.parametrize("settings", SMALL, ids=lambda one: type(one).__name__)
def test_a_search_under_a_budget_is_replayed_within_it(settings):
    """Samples that had to wait have requests of their own, and are found by them."""
    for budget in (Budget(tokens=250), Budget(generations=5)):
        tight = replace(settings, budget=budget)
        assert replayed(tight, replace(tight, choose="best")) == fresh(replace(tight, choose="best"))


@pytest.mark.parametrize("settings", FREE, ids=lambda one: type(one).__name__)
def test_another_reward_model_or_aggregation_is_the_fresh_run_where_scores_steer_nothing(settings):
    assert replayed(settings, settings, reward=OTHER) == fresh(settings, OTHER)
    assert fresh(settings) != fresh(settings, OTHER)
    for how in ("min", "product", "mean"):
        assert replayed(settings, replace(settings, aggregate=how)) == fresh(replace(settings, aggregate=how))


def test_a_majority_is_scored_later():
    voted = Parallel(n=8, choose="majority")
    assert replayed(voted, replace(voted, choose="best"), reward=REWARD) == fresh(replace(voted, choose="best"))
    with pytest.raises(ReplayError, match="was not scored"):
        replayed(voted, replace(voted, choose="best"))


@pytest.mark.parametrize("n", [1, 3, 8])
def test_the_first_of_independent_samples_are_the_smaller_run(n):
    assert replayed(Parallel(n=8), Parallel(n=n)) == fresh(Parallel(n=n))
    assert replayed(Revise(n=8, chains=1), Revise(n=n, chains=1)) == fresh(Revise(n=n, chains=1))


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (Adaptive(n=8, batch=3), Adaptive(n=4, batch=3)),
        (Adaptive(n=8, batch=3), Adaptive(n=8, batch=3, confidence=0.6)),
        (Dvts(n=12, m=3), Dvts(n=3, m=3)),
        (Dvts(n=12, m=3), Dvts(n=6, m=3)),
        (Mcts(paths=8, width=3), Mcts(paths=3, width=3)),
        (Mcts(paths=6, width=3, value="rollout"), Mcts(paths=2, width=3, value="rollout")),
    ],
)
def test_what_is_drawn_first_is_the_smaller_search(was, now):
    assert replayed(was, now) == fresh(now)
    assert fresh(was) != fresh(now)


def test_what_a_plan_gave_is_no_record_of_one_search():
    [result, *_] = fresh(Parallel(n=2))
    with pytest.raises(ReplayError, match="a look and of another search"):
        asyncio.run(replay(PROBLEMS[0], replace(result, strategy="auto"), Parallel(n=2), Parallel(n=2)))


def test_the_account_of_a_replay_is_its_own():
    """A majority needs no scores, so that none are charged."""
    scored, voted = replayed(Parallel(n=8), Parallel(n=8)), replayed(Parallel(n=8), Parallel(n=8, choose="majority"))
    assert all(one.scoring.scored > 0 for one in scored)
    assert all(one.scoring == Cost() for one in voted)


@pytest.mark.parametrize(
    ("was", "now", "why"),
    [
        (Beam(n=64, m=4), Beam(n=16, m=4), "no beam of 16"),
        (Beam(n=8, m=2), Beam(n=8, m=4), "continues steps"),
        (Dvts(n=8, m=4), Dvts(n=8, m=2), "continues steps"),
        (Mcts(paths=2), Mcts(paths=8), "no more samples"),
        (Mcts(paths=8), Mcts(paths=8, width=2), "continues steps"),
        (Beam(n=8), Beam(n=8, budget=Budget(tokens=9)), "continues steps"),
        (Beam(n=8), Beam(n=8, aggregate="min"), "scores decide"),
        (Rejection(n=8), Rejection(n=8, aggregate="min"), "scores decide"),
        (Parallel(n=8), Parallel(n=16), "no more samples"),
        (Parallel(n=8, budget=Budget(tokens=900)), Parallel(n=4, budget=Budget(tokens=900)), "under a budget"),
        (Parallel(n=8), Parallel(n=8, temperature=1.0), "other samples"),
        (Parallel(n=8), Parallel(n=8, seed=1), "other samples"),
        (Revise(n=8, chains=2), Revise(n=8, chains=4), "other samples"),
        (Adaptive(n=8, confidence=0.8), Adaptive(n=8, confidence=0.9), "no more samples"),
        (Parallel(n=8), Parallel(n=8, budget=Budget(generations=4)), "drawn together"),
        (Parallel(n=8), Beam(n=8), "another strategy"),
    ],
)
def test_what_does_not_follow_from_the_record_is_refused_with_the_reason(was, now, why):
    with pytest.raises(ReplayError, match=why):
        replayed(was, now)


@pytest.mark.parametrize("settings", [one for one in SMALL if one not in FREE], ids=lambda one: f"{type(one).__name__}")
def test_another_reward_model_would_have_grown_another_tree(settings):
    assert [one.nodes for one in fresh(settings)] != [one.nodes for one in fresh(settings, OTHER)]
    with pytest.raises(ReplayError, match="scores decide"):
        replayed(settings, settings, reward=OTHER)


def test_a_beam_cut_to_a_smaller_one_is_another_search():
    """Why it is refused: the fresh narrow beam gives other answers than the narrow part of the wide one."""
    wide, narrow = fresh(Beam(n=8, m=2)), fresh(Beam(n=4, m=2))
    known = [{result.path(i) for i in range(len(result.nodes))} for result in wide]
    assert any(
        not {one.path(i) for i in range(len(one.nodes))} <= paths for one, paths in zip(narrow, known, strict=True)
    )
