"""Each strategy against closed forms and exact dynamic programming, on a policy and a reward whose truth is known.

Shares over simulated problems are compared within four standard errors of what they must be; seeds are fixed, so a test
that passes once passes always.
"""

import asyncio
from dataclasses import replace
from itertools import product
from math import comb, erf, exp, inf, log, pi, prod, sqrt
from statistics import fmean, stdev

import numpy as np
import pytest

from stepmark.errors import InputError
from stepmark.evaluate.estimators import best_of_n
from stepmark.policies.base import ScriptedPolicy
from stepmark.rewards.base import LARGEST_LOGIT, NoisyReward
from stepmark.search.adaptive import Adaptive, lead
from stepmark.search.beam import Beam
from stepmark.search.dvts import Dvts
from stepmark.search.lookahead import Lookahead
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.particles import Particles
from stepmark.search.rebase import Rebase
from stepmark.search.rejection import Rejection
from stepmark.search.revise import Revise
from stepmark.search.simulated import (
    START,
    Chain,
    MiscalibratedReward,
    SimulatedPolicy,
    SimulatedReward,
    straight,
)
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Prefix, Problem, Sampling

CHANCE, DEPTH = 0.45, 3
STRAIGHT = straight(CHANCE, DEPTH)
MIXED = Chain(
    {START: {"good": 0.3, "fair": 0.3, "poor": 0.4}},
    {"good": {"1": 0.8, "0": 0.2}, "fair": {"1": 0.5, "2": 0.5}, "poor": {"1": 0.1, "0": 0.9}},
)
"""the right answer is not the most frequent one"""


def search(settings, chain, *, reward=None, problems=100, wordings=2**40, gold="1"):
    """Results on as many problems; they differ by their seeds alone."""
    name = next(name for name, (_, kind) in STRATEGIES.items() if kind is type(settings))
    policy, reward = SimulatedPolicy(chain, wordings=wordings), reward or SimulatedReward(chain)

    async def every():
        asked = [Problem(str(i), "where to?", gold, "simulated") for i in range(problems)]
        return await asyncio.gather(*(STRATEGIES[name][0](one, policy, reward, settings) for one in asked))

    return asyncio.run(every())


def accuracy(settings, chain=STRAIGHT, **how):
    return fmean(result.answer == "1" for result in search(settings, chain, **how))


def near(chance, problems=100):
    return pytest.approx(chance, abs=4 * sqrt(chance * (1 - chance) / problems))


def binomial(n, chance):
    return [comb(n, k) * chance**k * (1 - chance) ** (n - k) for k in range(n + 1)]


def survival(n, keep, each):
    """The chance that one right solution is left, where right ones are always preferred: `n` first steps, and after
    each round but the last `keep[round]` of those that are alive are continued `each` times."""
    right = {n: 1.0}  # how many samples of the round continue a right prefix
    for turn in range(DEPTH):
        drawn: dict[int, float] = {}
        for count, chance in right.items():
            for hits, share in enumerate(binomial(count, CHANCE)):
                drawn[hits] = drawn.get(hits, 0.0) + chance * share
        right = {}
        for hits, chance in drawn.items():
            kept = min(hits, keep[turn]) * each
            right[kept] = right.get(kept, 0.0) + chance
    return 1 - right.get(0, 0.0)


BEST_OF_8 = 1 - (1 - CHANCE**DEPTH) ** 8


def test_the_values_of_a_chain_are_its_closed_form():
    values = STRAIGHT.values("1")
    assert values[START] == pytest.approx(CHANCE**DEPTH)
    assert values["right2"] == pytest.approx(CHANCE)
    assert values["wrong1"] == 0
    assert MIXED.outcomes()[START] == pytest.approx({"1": 0.43, "0": 0.42, "2": 0.15})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Chain({START: {"end": 0.5}}, {"end": {"1": 1.0}}),
        lambda: Chain({START: {"nowhere": 1.0}}, {"end": {"1": 1.0}}),
        lambda: Chain({START: {"again": 1.0}, "again": {START: 1.0}}, {}),
        lambda: MiscalibratedReward(SimulatedReward(STRAIGHT), gain=0),
        lambda: asyncio.run(SimulatedReward(STRAIGHT).score(Prefix(Problem("p", "?", "1", "t"), ("elsewhere 3",)))),
    ],
)
def test_a_chain_that_does_not_end_and_a_step_of_none_are_refused(make):
    with pytest.raises(InputError):
        make()


def test_a_solution_drawn_step_by_step_is_the_one_drawn_whole():
    """The randomness of a step hangs on seed, index and place, as the seam demands; nothing is repeated."""
    policy, problem = SimulatedPolicy(STRAIGHT), Problem("p", "?", "1", "t")

    async def both():
        [whole] = await policy.sample(Prefix(problem), 1, Sampling(seed=5))
        prefix, finish = Prefix(problem), "step"
        while finish == "step":
            [one] = await policy.sample(prefix, 1, Sampling(seed=5, stop="step"))
            prefix, finish = Prefix(problem, prefix.steps + one.steps, prefix.token_ids + one.token_ids), one.finish
        return whole, prefix

    whole, prefix = asyncio.run(both())
    assert (whole.steps, whole.token_ids) == (prefix.steps, prefix.token_ids)
    assert whole.token_ids[-1] == ScriptedPolicy.END


@pytest.mark.parametrize("n", [1, 8, 24])
def test_best_of_n_with_a_perfect_reward_is_pass_at_n(n):
    results = search(Parallel(n=n), STRAIGHT)
    right = [result.answer == "1" for result in results]
    assert right == [any(node.answer == "1" for node in result.nodes) for result in results]
    assert fmean(right) == near(1 - (1 - CHANCE**DEPTH) ** n)


def voted(n, weigh):
    """The exact chance that a vote of n solutions of MIXED is right, over all ways to draw them, ties shared."""
    values, kinds = MIXED.values("1"), []
    for state, chance in MIXED.moves[START].items():
        kinds += [(answer, chance * share, weigh(values[state])) for answer, share in MIXED.answers[state].items()]
    total = 0.0
    for drawn in product(range(n + 1), repeat=len(kinds) - 1):
        if sum(drawn) > n:
            continue
        counts = (*drawn, n - sum(drawn))
        ways = prod(comb(sum(counts[i:]), counts[i]) for i in range(len(counts)))
        chance = ways * prod(p**count for (_, p, _), count in zip(kinds, counts, strict=True))
        sums = {"1": 0.0, "0": 0.0, "2": 0.0}
        for (answer, _, weight), count in zip(kinds, counts, strict=True):
            sums[answer] += count * weight
        best = [answer for answer in sums if sums[answer] > max(sums.values()) - 1e-9]
        total += chance * ("1" in best) / len(best)
    return total


def test_votes_are_right_as_often_as_counting_says():
    """Majority, and the vote weighted by a calibrated reward that sees states but not answers; five solutions."""
    states = SimulatedReward(MIXED, sees="states")
    assert accuracy(Parallel(n=5, choose="majority"), MIXED, problems=200) == near(voted(5, lambda v: 1.0), 200)
    assert accuracy(Parallel(n=5, choose="weighted"), MIXED, reward=states, problems=200) == near(
        voted(5, lambda v: v), 300
    )


def test_the_majority_converges_to_the_mode_and_a_calibrated_vote_to_the_most_probable_answer():
    """The most frequent answer is 0 for gold 0 in this chain; by calibrated weight it is 1."""
    chain = Chain(MIXED.moves, MIXED.answers | {"fair": {"1": 0.3, "2": 0.7}})
    assert max(chain.outcomes()[START], key=chain.outcomes()[START].get) == "0"
    states = SimulatedReward(chain, sees="states")
    majority = [accuracy(Parallel(n=n, choose="majority"), chain, problems=40) for n in (3, 61)]
    weighted = [accuracy(Parallel(n=n, choose="weighted"), chain, reward=states, problems=40) for n in (3, 61)]
    assert majority[1] < 0.4 < weighted[0] < 0.9 < weighted[1]
    assert majority[1] < majority[0]


def test_a_reward_that_sees_states_is_calibrated():
    """Its mean is the share of right solutions; so the sum of weights of an answer is an unbiased estimate."""
    [result] = search(Parallel(n=3000), MIXED, reward=SimulatedReward(MIXED, sees="states"), problems=1)
    for score in (0.1, 0.5, 0.8):
        right = [node.answer == "1" for node in result.nodes if node.value == score]
        assert fmean(right) == near(score, len(right))
    assert fmean(node.value for node in result.nodes) == near(MIXED.values("1")[START], 3000)


@pytest.mark.parametrize(("settings", "keep", "each"), [(Beam(n=8, m=8), 1, 8), (Beam(n=8, m=2), 4, 2)])
def test_beam_search_with_a_perfect_reward_is_its_recurrence_and_beats_best_of_n(settings, keep, each):
    expected = survival(8, [keep] * DEPTH, each)
    assert expected > BEST_OF_8 + 0.2
    assert accuracy(settings) == near(expected)
    if keep == 1:
        assert expected == pytest.approx((1 - (1 - CHANCE) ** 8) ** DEPTH)


@pytest.mark.parametrize("k", [1, 2])
def test_lookahead_with_a_perfect_reward_is_the_optimum(k):
    """No choice among the drawn steps does better than the true value, and a rollout that is scored by it adds
    nothing to it and takes nothing away: the greedy move goes right from every state that can still go right."""
    chain = straight(0.55, DEPTH)
    assert accuracy(Lookahead(n=4, m=4, k=k), chain) == near((1 - 0.45**4) ** DEPTH)


def test_lookahead_sees_what_a_blind_reward_cannot():
    """The first step decides, the reward sees answers alone. Beams kept blindly are right by chance; two greedy steps
    further stands the answer, and the choice is the optimum: right where any first step was."""
    late = Chain(
        {START: {"door1": 0.3, "door2": 0.7}, "door1": {"hall1": 1.0}, "door2": {"hall2": 1.0}},
        {"hall1": {"1": 1.0}, "hall2": {"0": 1.0}},
    )
    blind = SimulatedReward(late, sees="answer")
    assert accuracy(Beam(n=4, m=4), late, reward=blind) == near(0.3)
    assert accuracy(Lookahead(n=4, m=4, k=1), late, reward=blind) == near(0.3)
    assert accuracy(Lookahead(n=4, m=4, k=2), late, reward=blind) == near(1 - 0.7**4)


def test_dvts_with_a_perfect_reward_is_independent_greedy_subtrees():
    subtree = (1 - (1 - CHANCE) ** 4) ** DEPTH
    assert accuracy(Dvts(n=8, m=4)) == near(1 - (1 - subtree) ** 2)


def test_early_rejection_with_a_perfect_reward_is_its_recurrence():
    """Of 8, 4 and 2 open solutions the better half goes on: right ones are lost only where they crowd each other."""
    assert accuracy(Rejection(n=8, every=1, reject=0.5)) == near(survival(8, [4, 2, 1], 1))
    assert accuracy(Rejection(n=8, reject=0.0)) == near(BEST_OF_8)


def test_rebase_at_infinite_temperature_is_best_of_n_and_at_none_is_greedy():
    """Each open node is continued once: N independent solutions. Or the best alone, N times."""
    assert accuracy(Rebase(n=8, balance=inf, choose="best")) == near(BEST_OF_8)
    assert accuracy(Rebase(n=8, balance=1e-9)) == near((1 - (1 - CHANCE) ** 8) ** DEPTH)
    for result in search(Rebase(n=8, balance=inf), STRAIGHT, problems=5):
        parents = [node.parent for node in result.nodes if node.parent is not None]
        assert len(set(parents)) == len(parents)


def test_revision_is_a_walk_between_right_and_wrong_attempts():
    """A wrong attempt is made right with chance .5, a right one spoiled with chance .38, as in the paper: attempt t is
    right as a two-state walk says, and a verifier that sees the chain has any right one of it."""
    chain = Chain(
        {
            START: {"right": 0.2, "wrong": 0.8},
            "more": {"right": 0.5, "wrong": 0.5},
            "on": {"right": 0.62, "wrong": 0.38},
        },
        {"right": {"1": 1.0}, "wrong": {"0": 1.0}},
        revises={"right": "on", "wrong": "more"},
    )
    results = search(Revise(n=8, chains=2, choose="best", within="best"), chain)
    share = 0.2
    for turn in range(4):
        attempts = [node.answer == "1" for result in results for node in result.nodes[2 * turn : 2 * turn + 2]]
        assert fmean(attempts) == near(share, len(attempts))
        share = 0.62 * share + 0.5 * (1 - share)
    single = search(Revise(n=3, chains=1, choose="best", within="best"), chain)
    assert fmean(result.answer == "1" for result in single) == near(1 - 0.8 * 0.5**2)


def chosen_right(chance, n, noise, tail):
    """The exact chance that the best-scored of n solutions is right: logits +-4 with noise, by numerical integration.
    Scores above a logit of 37 are the number 1.0, and tie."""
    top = 37.0
    x = np.linspace(-60, top, 40_001)
    cdf = (lambda z: 0.5 + np.arctan(z) / pi) if tail == 1 else np.vectorize(lambda z: (1 + erf(z / sqrt(2))) / 2)
    right, wrong = (cdf((x - logit) / noise) for logit in (LARGEST_LOGIT, -LARGEST_LOGIT))
    below = chance * right + (1 - chance) * wrong
    inside = float(np.sum(n * chance * np.diff(right) * ((below[1:] + below[:-1]) / 2) ** (n - 1)))
    at_top = 1 - below[-1]
    return inside + (1 - below[-1] ** n) * chance * (1 - right[-1]) / max(at_top, 1e-300)


@pytest.mark.parametrize("tail", [1, inf])
def test_over_optimisation_appears_where_the_noise_has_a_heavy_tail(tail):
    """With normal noise the gap between right and wrong wins in the end. With Student's t, the larger N, the more
    surely the best score is an outlier, as often wrong as solutions are: accuracy falls back."""
    chance, noise, ns, problems, drawn = 0.3, 1.5, [1, 4, 8, 64, 256], 16, 256
    chain = straight(chance, 1)
    reward = NoisyReward(SimulatedReward(chain), noise=noise, tail=tail)
    curves = []
    for result in search(Parallel(n=drawn), chain, reward=reward, problems=problems):
        right_N = np.array([float(node.answer == "1") for node in result.nodes])
        curves.append(best_of_n(right_N, np.array([node.value for node in result.nodes]), ns))
    expected = [chosen_right(chance, n, noise, tail) for n in ns]
    measured = np.mean(curves, axis=0)
    for n, value, exact in zip(ns, measured, expected, strict=True):
        assert value == near(exact, problems * drawn / n), n  # an average of at least so many separate choices
    assert (expected[-1] < expected[2] - 0.1) == (tail == 1)
    assert (measured[-1] < max(measured)) == (tail == 1)


def test_more_noise_is_less_accuracy():
    accuracies = [accuracy(Parallel(n=8), reward=NoisyReward(SimulatedReward(STRAIGHT), noise=x)) for x in (0, 4, 40)]
    assert accuracies == sorted(accuracies, reverse=True)
    assert accuracies[2] == near((CHANCE**DEPTH + BEST_OF_8) / 2 - 0.25, 40)  # near to a blind choice


@pytest.mark.parametrize("resampling", ["multinomial", "systematic", "stratified", "residual"])
@pytest.mark.parametrize("weight", ["incremental", "absolute"])
def test_particles_estimate_the_normalising_constant_and_the_posterior_without_bias(resampling, weight):
    """The product over rounds of the mean weight has the expectation of the product of the weights along a solution of
    the policy, whatever the resampling scheme; so has that product times the weighted share of an answer (Del Moral
    2004). The incremental weights telescope to the odds of the end, the absolute ones count every step's odds."""
    chain = Chain(
        {
            START: {"up1": 0.5, "down1": 0.5},
            "up1": {"up2": 0.7, "down2": 0.3},
            "down1": {"up2": 0.4, "down2": 0.6},
        },
        {"up2": {"1": 0.7, "0": 0.3}, "down2": {"1": 0.3, "0": 0.7}},
    )
    odds = {state: value / (1 - value) for state, value in chain.values("1").items()}

    def exact(answers):
        """The sum over all solutions: their chance times the product of their weights."""
        total = 0.0
        for first, p in chain.moves[START].items():
            for second, q in chain.moves[first].items():
                weights = odds[second] if weight == "incremental" else odds[first] * odds[second] ** 2
                total += p * q * weights * sum(chain.answers[second][answer] for answer in answers)
        return total

    constants, masses = [], []
    for result in search(
        Particles(n=4, resampling=resampling, weight=weight),
        chain,
        reward=SimulatedReward(chain, sees="states"),
        problems=120,
    ):
        nodes, rounds = result.nodes, [[], [], []]
        for i, node in enumerate(nodes):
            before = 1.0 if node.parent is None or weight == "absolute" else odds_of(nodes[node.parent].value)
            rounds[len(result.path(i)) - 1].append((odds_of(node.value) / before, node.answer == "1"))
        constants.append(prod(fmean(one for one, _ in level) for level in rounds))
        last = rounds[-1]
        masses.append(constants[-1] * sum(w for w, right in last if right) / sum(w for w, _ in last))
    for estimates, truth in ((constants, exact("10")), (masses, exact("1"))):
        assert fmean(estimates) == pytest.approx(truth, abs=4 * stdev(estimates) / sqrt(len(estimates)))
    assert 4 * stdev(constants) / sqrt(len(constants)) < exact("10") / 3


def test_the_resampling_that_is_named_is_the_one_that_is_done():
    """Trap: the option was not passed on. Under one seed each scheme chooses others of 32 particles."""
    schemes = ("multinomial", "systematic", "stratified", "residual")
    swarms = {
        tuple(
            tuple(node.parent for node in result.nodes)
            for result in search(Particles(n=32, resampling=scheme), STRAIGHT)
        )
        for scheme in schemes
    }
    assert len(swarms) == len(schemes)


def odds_of(value):
    return value / (1 - value)


def test_monte_carlo_tree_search_finds_the_best_arm():
    """One of three first steps can still go right, and a reward that sees answers alone tells only by going there. One
    path is right by chance; enough paths go everywhere, and find the right answer where any drawn step leads to it."""
    chain = Chain(
        {START: {"a": 0.3, "b": 0.3, "c": 0.4}, "a": {"x": 0.5, "y": 0.5}, "b": {"z": 1.0}, "c": {"z": 1.0}},
        {"x": {"1": 1.0}, "y": {"0": 1.0}, "z": {"0": 1.0}},
    )
    blind = SimulatedReward(chain, sees="answer")
    found = [
        accuracy(Mcts(paths=paths, width=4, choose="best"), chain, reward=blind, wordings=1) for paths in (1, 3, 12)
    ]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.2
    assert found[2] == near((1 - 0.7**4) * (1 - 0.5**4))


def test_monte_carlo_tree_search_spends_its_rollouts_on_the_best_arm():
    """Right answers are never in sight of the tree, so only means of rollouts tell the arms apart: the more paths, the
    larger the share of steps below the best one."""
    moves = {START: {"a": 0.3, "b": 0.3, "c": 0.4}}
    for arm, chance in zip("abc", (0.9, 0.5, 0.1), strict=True):
        moves[arm] = {f"{arm}1": 1.0}
        moves |= {f"{arm}{k}": {f"{arm}{k + 1}": 1.0} for k in range(1, 6)}
        moves[f"{arm}6"] = {"right": chance, "wrong": 1 - chance}
    chain = Chain(moves, {"right": {"1": 1.0}, "wrong": {"0": 1.0}})
    shares = []
    for paths in (6, 24):
        settings = Mcts(paths=paths, width=4, value="rollout", rollouts=2)
        results = search(settings, chain, reward=SimulatedReward(chain, sees="answer"), problems=12, wordings=3)
        below = [
            result.path(i)[0][0] for result in results for i, node in enumerate(result.nodes) if node.parent is not None
        ]
        shares.append(below.count("a") / len(below))
    assert shares[1] > max(shares[0], 0.5)


def stops(confidence, most):
    """Of adaptive self-consistency with two answers: (votes for, votes against) where it stops, and in how many orders
    of samples it comes there."""
    open_, found = {(0, 0): 1}, {}
    for _ in range(most):
        following: dict[tuple[int, int], int] = {}
        for (a, b), ways in open_.items():
            for end in ((a + 1, b), (a, b + 1)):
                following[end] = following.get(end, 0) + ways
        decided = {end for end in following if lead(["1"] * end[0] + ["0"] * end[1]) > confidence}
        found |= {end: following[end] for end in decided}
        open_ = {end: ways for end, ways in following.items() if end not in decided}
    return found, open_


def test_the_error_of_adaptive_self_consistency_is_bounded():
    """Where the share of right samples is any number between 0 and 1 alike, the votes at which it stops are wrong with
    a chance of at most 1 - confidence, however it came there: by the posterior itself. For one share, errors and
    samples are those of the walk."""
    confidence, most = 0.9, 24
    found, undecided = stops(confidence, most)
    reached = {(a, b): ways / ((a + b + 1) * comb(a + b, a)) for (a, b), ways in found.items()}  # integral over shares
    wrong = {end: 1 - lead(["1"] * end[0] + ["0"] * end[1]) for end in reached}
    assert sum(reached[end] * wrong[end] for end in reached) / sum(reached.values()) <= 1 - confidence
    share = 0.7
    chances = {(a, b): ways * share**a * (1 - share) ** b for (a, b), ways in (found | undecided).items()}
    assert sum(chances.values()) == pytest.approx(1)
    results = search(Adaptive(n=most, confidence=confidence), straight(share, 1), problems=200)
    right = sum(chance * ((a > b) + (a == b) / 2) for (a, b), chance in chances.items())
    assert fmean(result.answer == "1" for result in results) == near(right, 200)
    lengths = [len(result.nodes) for result in results]
    expected = sum(chance * (a + b) for (a, b), chance in chances.items())
    assert fmean(lengths) == pytest.approx(expected, abs=4 * stdev(lengths) / sqrt(200))


RANKED = [
    Parallel(n=6),
    Beam(n=6, m=2, choose="best"),
    Dvts(n=6, m=3, choose="best"),
    Lookahead(n=4, m=2, k=1, choose="best"),
    Rejection(n=6, every=1),
]
WEIGHED = [
    Parallel(n=6, choose="weighted"),
    Rebase(n=6),
    Particles(n=6),
    Mcts(paths=3, width=3),
]


@pytest.mark.parametrize("settings", RANKED + WEIGHED, ids=lambda one: type(one).__name__)
def test_miscalibration_changes_what_weighs_scores_and_nothing_that_ranks_them(settings):
    """A monotone distortion keeps every order, so whatever looks at ranks alone grows the same tree and chooses the
    same answer; by last and by minimum, which commute with it."""
    chain = Chain(
        {START: {"up1": 0.5, "down1": 0.5}, "up1": {"up": 0.6, "down": 0.4}, "down1": {"up": 0.4, "down": 0.6}},
        {"up": {"1": 0.6, "0": 0.4}, "down": {"1": 0.4, "2": 0.6}},
    )
    noisy = NoisyReward(SimulatedReward(chain, sees="states"), noise=1.0)
    bent = MiscalibratedReward(noisy, gain=3.0, shift=-4.0)
    for how in ("last", "min"):
        asked = replace(settings, aggregate=how)
        one, other = (
            [
                (result.answer, [(node.steps, node.parent, node.fate) for node in result.nodes])
                for result in search(asked, chain, reward=reward, problems=15)
            ]
            for reward in (noisy, bent)
        )
        assert (one == other) == (settings in RANKED)


def test_the_distortion_is_of_the_log_odds():
    async def bent(score):
        class Fixed:
            async def score(self, prefix):
                return replace(await SimulatedReward(STRAIGHT).score(prefix), scores=(score,))

        reward = MiscalibratedReward(Fixed(), gain=2.0, shift=1.0)
        return (await reward.score(Prefix(Problem("p", "?", "1", "t"), ("right1 0",)))).scores[0]

    for score in (0.01, 0.3, 0.9):
        odds = exp(2 * log(score / (1 - score)) + 1)
        assert asyncio.run(bent(score)) == pytest.approx(odds / (1 + odds))
    assert [asyncio.run(bent(edge)) for edge in (0.0, 1.0)] == [0.0, 1.0]
