"""Every strategy on real servers, vLLM and `transformers serve`, with the code that also runs in process."""

import asyncio
from dataclasses import replace

import pytest

from stepmark.grading import grade
from stepmark.policies.bundled import PATH
from stepmark.policies.client import Client
from stepmark.policies.endpoint import TRANSFORMERS, VLLM, EndpointPolicy
from stepmark.problems import quantities
from stepmark.rewards.base import OracleReward
from stepmark.search.adaptive import Adaptive
from stepmark.search.beam import Beam
from stepmark.search.dvts import Dvts
from stepmark.search.lookahead import Lookahead
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.particles import Particles
from stepmark.search.rebase import Rebase
from stepmark.search.rejection import Rejection
from stepmark.search.revise import Revise
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Cost

REWARD = OracleReward(quantities.rate, neutral=1.0)
PROBLEMS = list(quantities.generate("test", 2, levels=(1,)))
LIMITS = {"max_tokens": 256, "max_step_tokens": 128, "max_steps": 12}
SMALL = {
    "adaptive": Adaptive(n=4, batch=2, **LIMITS),
    "beam": Beam(n=4, m=2, **LIMITS),
    "dvts": Dvts(n=4, m=2, **LIMITS),
    "lookahead": Lookahead(n=4, m=2, k=1, **LIMITS),
    "mcts": Mcts(paths=2, width=2, **LIMITS),
    "parallel": Parallel(n=4, **LIMITS),
    "particles": Particles(n=4, **LIMITS),
    "rebase": Rebase(n=4, **LIMITS),
    "rejection": Rejection(n=4, every=2, **LIMITS),
    "revise": Revise(n=4, chains=2, **LIMITS),
}


def search(url, model, server, settings):
    """Both problems, by a policy that asks as the bundled model was trained."""
    search = next(search for search, kind in STRATEGIES.values() if kind is type(settings))

    async def run():
        asks = lambda problem: f"<|bos|>{problem.question}\n"  # noqa: E731
        async with EndpointPolicy(Client(url, tries=1), model, server=server, prompt=asks) as policy:
            return await asyncio.gather(*(search(problem, policy, REWARD, settings) for problem in PROBLEMS))

    return asyncio.run(run())


def check(results):
    """Costs are the server's figures, and of two easy problems with an exact judge one at least is solved."""
    for one in results:
        assert one.cost == Cost.total(node.cost for node in one.nodes)
        assert one.cost.requests >= len(one.nodes)
        assert one.cost.generated > 0
    assert any(grade(problem, one.answer).correct for problem, one in zip(PROBLEMS, results, strict=True))


def test_no_strategy_is_forgotten():
    """But the one that follows a plan: what it runs are the others."""
    assert SMALL.keys() == STRATEGIES.keys() - {"auto"}


@pytest.mark.parametrize("name", SMALL)
def test_every_strategy_runs_on_vllm(vllm_url, name):
    results = search(vllm_url, "bundled", VLLM, SMALL[name])
    check(results)
    for one in results:
        assert all(len(node.token_ids) == node.cost.generated for node in one.nodes)


@pytest.mark.parametrize("name", SMALL)
def test_every_strategy_runs_on_transformers_serve(transformers_url, name):
    """Each of its steps costs all that the server wrote after it (see `policies.endpoint`), so a solution needs a
    larger limit."""
    check(search(transformers_url, str(PATH), TRANSFORMERS, replace(SMALL[name], max_tokens=1024)))
