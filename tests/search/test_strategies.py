"""What holds for every strategy, proved on a policy whose tokens are counted from outside."""

import asyncio
import random
from dataclasses import replace

import pytest

from stepmark.budget.flops import ModelSize, flops
from stepmark.errors import BackendError, InputError, ScoreError
from stepmark.policies.base import ScriptedPolicy
from stepmark.rewards.base import NoisyReward, OracleReward
from stepmark.search.account import Budget, Models
from stepmark.search.adaptive import Adaptive
from stepmark.search.auto import Auto
from stepmark.search.beam import Beam
from stepmark.search.dvts import Dvts
from stepmark.search.lookahead import Lookahead
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.particles import Particles
from stepmark.search.rebase import Rebase, allocate
from stepmark.search.rejection import Rejection
from stepmark.search.revise import Revise
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Cost, Prefix, Problem

PROBLEM = Problem("p", "which way?", "4", "test")
DEPTH = 4
SIZE = ModelSize(body=100, head=10, layers=2, width=8)
MODELS = Models(SIZE, SIZE, ratio=2.0, template=8)
SMALL = {
    "adaptive": Adaptive(n=8, batch=3),
    "beam": Beam(n=8, m=4),
    "dvts": Dvts(n=8, m=4),
    "lookahead": Lookahead(n=8, m=4, k=2),
    "mcts": Mcts(paths=3, width=4),
    "mcts by rollouts": Mcts(paths=3, width=4, value="rollout", rollouts=2),
    "parallel": Parallel(n=8),
    "particles": Particles(n=8),
    "rebase": Rebase(n=8),
    "rejection": Rejection(n=8, every=2),
    "revise": Revise(n=8, chains=2),
}
INDEPENDENT = ("adaptive", "parallel", "rejection", "revise")
"""their solutions are drawn apart from each other, and a copy is a vote of its own"""
ALL = pytest.mark.parametrize("name", SMALL)


def script(prefix: Prefix, index: int, seed: int) -> str:
    """Steps `good ...` (half of them) or `bad ...`, no two alike, then the number of good ones."""
    rng = random.Random(f"{seed} {index} {prefix.steps}")
    steps = list(prefix.steps)
    while len(steps) < DEPTH:
        steps.append(rng.choice(("good ", "bad ")) + str(rng.getrandbits(rng.randint(20, 60))))
    if len(steps) == DEPTH:
        steps.append(f"Answer: {sum(step.startswith('good') for step in steps)}")
    return "".join(step + "\n" for step in steps[len(prefix.steps) :])


class Scored:
    """A noisy judge that reads as many tokens as the text has characters, and counts them."""

    def __init__(self) -> None:
        rate = OracleReward(lambda _, steps: [-1 if step.startswith("bad") else 1 for step in steps], neutral=1.0)
        self.reward = NoisyReward(rate, noise=1.0)
        self.spent: list[Cost] = []

    async def score(self, prefix):
        scored = await self.reward.score(prefix)
        cost = Cost(scored=len(prefix.problem.question) + 1 + sum(len(step) + 1 for step in prefix.steps), requests=1)
        self.spent.append(cost)
        return replace(scored, cost=cost)


class Counted(ScriptedPolicy):
    """Remembers every completion that it gave."""

    def __init__(self, text=script) -> None:
        super().__init__(text)
        self.gave = []

    async def sample(self, prefix, n, sampling):
        drawn = await super().sample(prefix, n, sampling)
        assert all(len(one.token_ids) <= sampling.max_tokens for one in drawn)
        self.gave += [(prefix, one) for one in drawn]
        return drawn


def search(settings, policy=None, reward=None, problem=PROBLEM):
    name = next(name for name, (_, kind) in STRATEGIES.items() if kind is type(settings))
    return asyncio.run(STRATEGIES[name][0](problem, policy or Counted(), reward or Scored(), settings))


def test_every_strategy_is_tried():
    assert {type(settings) for settings in SMALL.values()} == {kind for _, kind in STRATEGIES.values()} - {Auto}


@ALL
def test_the_account_is_what_policy_and_reward_model_were_asked(name):
    """Nothing is estimated, inherited or left out: sums over the tree equal sums over the calls."""
    policy, reward = Counted(), Scored()
    result = search(replace(SMALL[name], models=MODELS), policy, reward)
    assert result.cost == Cost.total(one.cost for _, one in policy.gave)
    assert result.scoring == Cost.total(reward.spent)
    assert len(result.nodes) == len(policy.gave)
    assert result.flops.policy == sum(flops(SIZE, one.cost) for _, one in policy.gave)
    assert result.flops.reward == sum(flops(SIZE, cost) for cost in reward.spent)


@ALL
@pytest.mark.parametrize("unit", ["generations", "tokens", "flops"])
def test_no_budget_is_exceeded_and_a_large_one_changes_nothing(name, unit):
    free = search(replace(SMALL[name], models=MODELS))
    spent = {"generations": free.generations, "tokens": free.cost.generated, "flops": free.flops.total}
    for share in (0.02, 0.1, 0.3, 0.6, 0.9):
        limit = max(1, int(share * spent[unit]))
        policy, reward = Counted(), Scored()
        bound = search(replace(SMALL[name], models=MODELS, budget=Budget(**{unit: limit})), policy, reward)
        assert bound.exhausted or unit != "generations"
        assert sum(one.cost.generated for _, one in policy.gave) == bound.cost.generated
        depths = [
            d for prefix, one in policy.gave for d in range(len(prefix.steps), len(prefix.steps) + len(one.steps))
        ]
        used = {
            "generations": max((depths.count(d) for d in set(depths)), default=0),
            "tokens": sum(len(one.token_ids) for _, one in policy.gave),
            "flops": sum(flops(SIZE, c.cost) for _, c in policy.gave) + sum(flops(SIZE, c) for c in reward.spent),
        }
        assert used[unit] <= limit
    ample = {unit: 10**9 * spent[unit]}
    assert search(replace(SMALL[name], models=MODELS, budget=Budget(**ample))) == free


@ALL
def test_the_same_seed_grows_the_same_tree_and_another_one_another(name):
    settings = SMALL[name]
    random.seed(1)
    one = search(settings)
    random.seed(2)
    assert search(settings) == one
    assert search(replace(settings, seed=1)).nodes != one.nodes


@ALL
def test_requests_of_one_place_have_one_seed_and_of_two_places_two(name):
    policy = Counted()
    search(SMALL[name], policy)
    sampled = [(s.seed) for _, _, s in policy.calls if s.temperature > 0]
    assert len(set(sampled)) == len(sampled)


@ALL
def test_token_ids_are_kept_between_steps(name):
    """A prefix has its parents' ids, as they were written, never the ids of its text encoded again."""
    policy = Counted()
    result = search(SMALL[name], policy)
    written = {()} | {(p.token_ids or ()) + one.token_ids for p, one in policy.gave}
    assert {prefix.token_ids for prefix, _, _ in policy.calls} <= written
    for i, node in enumerate(result.nodes):
        if node.finish == "stop":
            text = "".join(step + "\n" for step in result.path(i))
            ids = [token for j in chain(result, i) for token in result.nodes[j].token_ids]
            assert "".join(map(chr, ids)).rstrip("\0") == text


def chain(result, i):
    parent = result.nodes[i].parent
    return ([] if parent is None else chain(result, parent)) + [i]


@ALL
def test_a_truncated_solution_is_neither_finished_nor_scored_nor_chosen(name):
    """Only the end is cut: every solution says its answer, but has no token left to end with."""
    settings = replace(SMALL[name], max_tokens=60)
    result = search(settings)
    assert any(node.finish == "length" for node in result.nodes)
    for i in range(len(result.nodes)):
        assert sum(len(result.nodes[j].token_ids) for j in chain(result, i)) <= 60
    for node in result.nodes:
        if node.finish == "length":
            assert node.scores is None
            assert node.answer is None
            assert node.fate in ("truncated", "rollout")
    assert result.chosen is None or result.nodes[result.chosen].finish == "stop"


def test_what_is_cut_everywhere_has_no_answer():
    for settings in SMALL.values():
        result = search(replace(settings, max_step_tokens=3, max_tokens=3))
        assert (result.answer, result.chosen) == (None, None)


@pytest.mark.parametrize("name", [name for name in SMALL if name not in INDEPENDENT])
def test_copies_of_a_beam_vote_once(name):
    """Two answers, one written in one way by all, the other in two: the copies do not outvote it."""
    texts = ["good a\nAnswer: 1\n"] * 6 + ["good b\nAnswer: 2\n", "good c\nAnswer: 2\n"]

    def few(prefix, index, seed):
        text = (
            texts[index % 8]
            if not prefix.steps
            else {"good a": texts[0], "good b": texts[6], "good c": texts[7]}[prefix.steps[0]]
        )
        lines = text.splitlines(keepends=True)
        return "".join(lines[len(prefix.steps) :])

    result = search(replace(SMALL[name], choose="majority"), Counted(few))
    voters = [i for i, node in enumerate(result.nodes) if node.fate in ("finished", "chosen")]
    assert len({result.path(i) for i in voters}) == len(voters)
    assert any(node.fate == "duplicate" for node in result.nodes)
    if len(voters) == 3:
        assert result.answer == "2"


@pytest.mark.parametrize(("name", "n"), [("beam", 8), ("dvts", 8), ("rebase", 8), ("particles", 8), ("rejection", 8)])
def test_a_search_of_width_n_costs_n_generations_and_shrinks(name, n):
    """Refilling the width where beams ended would sample more than was declared."""
    policy = Counted()
    result = search(SMALL[name], policy)
    assert result.generations == n
    ended = 0
    for depth in range(12):
        drawn = [one for prefix, one in policy.gave if len(prefix.steps) == depth and one.steps]
        assert len(drawn) + ended <= n
        ended += sum(one.finish != "step" for one in drawn)


def test_every_path_of_monte_carlo_tree_search_draws_something_until_all_is_drawn():
    """Of a tree of twelve solutions the paths find all, where ever so many went to the one that looks best."""

    def few(prefix, index, seed):
        steps = [f"good {index % 3}", f"good {index % 2}", "good 0", "good 0", "Answer: 4"]
        return "".join(step + "\n" for step in steps[len(prefix.steps) :])

    for paths, found in ((2, 2), (12, 6), (64, 6)):
        result = search(Mcts(paths=paths, width=6, choose="best"), Counted(few))
        assert sum(node.fate in ("finished", "chosen") for node in result.nodes) == found
    assert result.cost.generated == search(Mcts(paths=6, width=6), Counted(few)).cost.generated


def test_what_a_policy_or_reward_model_gives_must_fit_what_was_asked():
    """Trap: fewer scores than steps, silently taken for those of the first ones."""

    class Short(Scored):
        async def score(self, prefix):
            scored = await super().score(prefix)
            return replace(scored, scores=scored.scores[:1])

    class Few(Counted):
        async def sample(self, prefix, n, sampling):
            return (await super().sample(prefix, n, sampling))[:-1]

    with pytest.raises(ScoreError, match="1 scores for the 2 steps"):
        search(SMALL["beam"], reward=Short())
    with pytest.raises(BackendError, match="gave 7 samples where 8 were asked for"):
        search(SMALL["parallel"], Few())


def test_a_policy_that_asks_twice_reads_its_prompt_twice():
    """As a server does that ends a step at a blank line; what it reads again breaks no bound."""

    class Again(Counted):
        async def sample(self, prefix, n, sampling):
            drawn = await super().sample(prefix, n, sampling)
            twice = [
                replace(c, prompt=2 * c.prompt, cached=2 * c.cached, requests=2) for c in (one.cost for one in drawn)
            ]
            return [replace(one, cost=cost) for one, cost in zip(drawn, twice, strict=True)]

    free = search(replace(SMALL["beam"], models=MODELS), Again())
    bound = search(replace(SMALL["beam"], models=MODELS, budget=Budget(flops=1e12)), Again())
    assert bound == free


def test_a_finished_solution_is_scored_before_lookahead_spends_what_is_left():
    settings = replace(SMALL["lookahead"], models=MODELS)
    whole = search(settings).flops.total
    for share in (0.3, 0.5, 0.7, 0.9):
        result = search(replace(settings, budget=Budget(flops=share * whole)))
        assert all(node.scores for node in result.nodes if node.fate in ("finished", "chosen"))


def test_lookahead_costs_k_more_generations_for_each():
    assert search(Lookahead(n=8, m=4, k=2)).generations <= 8 * 3
    assert search(Lookahead(n=8, m=4, k=2)).generations > 8 * 2


def test_lookahead_of_no_steps_is_beam_search():
    for seed in range(5):
        one, other = search(Beam(n=8, m=2, seed=seed)), search(Lookahead(n=8, m=2, k=0, seed=seed))
        assert replace(other, strategy="beam") == one


def test_the_end_of_the_lookahead_is_what_is_scored():
    """Only the second step tells: a beam judged as it stands cannot know, one that looks ahead does."""

    def late(prefix, index, seed):
        first = prefix.steps[0] if prefix.steps else random.Random(f"{seed} {index}").choice("xyz")
        lines = [first, f"after {first}", f"Answer: {'4' if first == 'z' else '5'}"]
        return "".join(line + "\n" for line in lines[len(prefix.steps) :])

    reward = OracleReward(
        lambda _, steps: [1 if step in ("x", "y", "z", "after z") else -1 for step in steps], neutral=1
    )
    hits = {
        k: sum(
            any(
                node.fate == "kept" and node.steps == ("z",)
                for node in search(Lookahead(n=8, m=8, k=k, seed=seed), Counted(late), reward).nodes
            )
            for seed in range(40)
        )
        for k in (0, 1)
    }
    seen = sum(
        any(n.steps == ("z",) and n.fate != "rollout" for n in search(Beam(n=8, m=8, seed=s), Counted(late)).nodes)
        for s in range(40)
    )
    assert hits[1] == seen
    assert hits[0] < seen


def test_beam_search_that_keeps_one_is_the_best_of_n_steps_and_dvts_with_one_subtree():
    for seed in range(5):
        kept = search(Beam(n=6, m=6, seed=seed, max_steps=DEPTH))
        greedy = search(Dvts(n=6, m=6, seed=seed, max_steps=DEPTH))
        assert [node.steps for node in kept.nodes] == [node.steps for node in greedy.nodes]
        for start in range(0, DEPTH * 6, 6):
            level = kept.nodes[start : start + 6]
            best = max(level, key=lambda node: node.value)
            assert [node.steps for node in level if node.fate == "kept"] in ([best.steps], [])


def test_subtrees_that_begin_alike_both_go_on():
    """With one first step for all, each of the two subtrees still takes its own way to an end."""

    def alike(prefix, index, seed):
        return script(prefix, index, seed) if prefix.steps else "good\n"

    result = search(Dvts(n=8, m=4), Counted(alike))
    assert sum(len(result.path(i)) == 2 for i in range(len(result.nodes))) == 8


def test_a_majority_of_revisions_asks_no_reward_model():
    settings = Revise(n=8, chains=2, within=None, choose="majority")
    assert asyncio.run(STRATEGIES["revise"][0](PROBLEM, Counted(), None, settings)).scoring == Cost()


def test_mcts_of_one_path_is_dvts_with_one_subtree():
    for seed in range(5):
        path = search(Mcts(paths=1, width=6, seed=seed))
        greedy = search(Dvts(n=6, m=6, seed=seed))
        shared = min(len(path.nodes), len(greedy.nodes))
        assert [n.steps for n in path.nodes[:shared]] == [n.steps for n in greedy.nodes[:shared]]
        assert shared >= 6 * DEPTH


def test_particles_without_temperature_are_a_beam_that_keeps_one():
    for seed in range(5):
        cold = search(Particles(n=6, tau=1e-6, seed=seed, max_steps=DEPTH))
        kept = search(Beam(n=6, m=6, seed=seed, max_steps=DEPTH))
        assert [node.steps for node in cold.nodes] == [node.steps for node in kept.nodes]


def test_rebase_at_infinite_temperature_splits_evenly_and_at_none_keeps_the_best():
    for width in range(1, 20):
        for count in range(1, 8):
            scores = sorted((random.Random(width * count + i).random() for i in range(count)), reverse=True)
            even = allocate(scores, width, float("inf"))
            assert sum(even) == width
            assert max(even) - min(even) <= 1
            assert allocate(scores, width, 1e-9) == [width] + [0] * (count - 1)
            assert sum(allocate(scores, width, 0.2)) == width


def test_ties_are_broken_by_seed_not_by_order():
    """With all scores alike, each of the first steps is kept under some seed."""

    class Flat:
        async def score(self, prefix):
            return replace(await Scored().score(prefix), scores=(0.5,) * len(prefix.steps))

    kept = set()
    for seed in range(40):
        result = search(Beam(n=4, m=4, seed=seed), reward=Flat())
        kept |= {i for i, node in enumerate(result.nodes[:4]) if node.fate == "kept"}
    assert kept == {0, 1, 2, 3}


def test_the_aggregation_decides():
    """Of one tree of scores, last and min choose differently under some seed."""
    chosen = [
        [search(Parallel(n=8, aggregate=how, seed=seed)).solution for seed in range(10)] for how in ("last", "min")
    ]
    assert chosen[0] != chosen[1]


def test_a_majority_asks_no_reward_model():
    result = asyncio.run(STRATEGIES["parallel"][0](PROBLEM, Counted(), None, Parallel(n=8, choose="majority")))
    assert result.scoring == Cost()
    assert result.answer is not None


@pytest.mark.parametrize(
    "make",
    [
        lambda: Beam(n=2, m=4),
        lambda: Dvts(n=6, m=4),
        lambda: Parallel(n=0),
        lambda: Revise(n=6, chains=4),
        lambda: Parallel(max_tokens=0),
        lambda: search(Parallel(budget=Budget(flops=1e9))),
        lambda: search(Parallel(budget=Budget(tokens=0))),
    ],
)
def test_settings_that_make_no_search_are_refused(make):
    with pytest.raises(InputError):
        make()
