"""Test-time strategies: what awaiting all problems at once and sharing the cache are worth, and a peer beside ours.

    python -m benchmarks.search [CASE ...] [--problems 200] [--repeats 3] [--url URL --its-hub PYTHON]

Sides are interleaved; printed are medians, and the median of the paired ratios with its range. The reward is the noisy
oracle, which costs nothing: what is timed is the policy and the search. Threads are those of OMP_NUM_THREADS.

together  beam search (N 16, M 4) with the bundled policy over all problems awaited at once, beside one after the other
cache     tokens that the policy computed for each strategy, beside those that it would have computed without a cache:
          the account's own `cached`, over the first 32 problems
its_hub   beam search of the PyPI package its_hub beside ours, on one server: `--url` is a vLLM that serves the bundled
          model as `bundled` with a chat template that trims nothing, `--its-hub` the python of an environment with
          its_hub, aiohttp, backoff, certifi, msgspec, rich and sympy. Budget 16 and width 4, the best score wins on
          both sides, tokens are the server's own count.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import httpx2

from stepmark.grading import extract, grade
from stepmark.policies import bundled
from stepmark.policies.base import Policy
from stepmark.policies.client import Client
from stepmark.policies.endpoint import VLLM, EndpointPolicy
from stepmark.problems import quantities
from stepmark.rewards.base import NoisyReward, OracleReward
from stepmark.search.beam import Beam, beam
from stepmark.search.strategies import STRATEGIES
from stepmark.search.tree import SearchResult
from stepmark.types import Cost, Problem

NOISE = 2.0
REWARD = NoisyReward(OracleReward(quantities.rate, neutral=1.0), noise=NOISE)
SETTINGS = Beam(n=16, m=4, max_tokens=256)

PEER = """
import asyncio, json, sys
from its_hub.api import AbstractProcessRewardModel
from its_hub.core.algorithms.beam_search import BeamSearch
from its_hub.core.lms.openai_lm import OpenAICompatibleLanguageModel
from its_hub.core.lms.step_generation import StepGeneration
from stepmark.problems import quantities
from stepmark.rewards.base import NoisyReward, OracleReward
from stepmark.steps import split
from stepmark.types import Prefix, Problem

told = json.load(sys.stdin)
problems = {one["question"]: Problem(**one) for one in told["problems"]}
reward = NoisyReward(OracleReward(quantities.rate, neutral=1.0), noise=told["noise"])

class Reward(AbstractProcessRewardModel):
    async def ascore(self, prompt, responses):
        scored = [await reward.score(Prefix(problems[str(prompt)], split(one), None)) for one in responses]
        return [one.scores[-1] for one in scored]
    def score(self, prompt, responses):
        raise NotImplementedError

async def main():
    lm = OpenAICompatibleLanguageModel(told["url"] + "/v1", "none", "bundled")
    steps = StepGeneration(max_steps=40, step_token="\\n", stop_token="Answer:", temperature=0.8)
    search = BeamSearch(steps, Reward(), beam_width=4)
    found = await asyncio.gather(*(search.ainfer(lm, question, 16) for question in problems))
    await lm.close()
    print(json.dumps([one["content"] for one in found]))

asyncio.run(main())
"""
"""its_hub in an environment of its own: problems in, the texts that it chose out."""


def problems(count: int) -> list[Problem]:
    return [quantities.problem("test", 0, index, 1 + index % 6) for index in range(count)]


async def together(policy: Policy, chosen: Sequence[Problem]) -> list[SearchResult]:
    return await asyncio.gather(*(beam(problem, policy, REWARD, SETTINGS) for problem in chosen))


async def one_after_the_other(policy: Policy, chosen: Sequence[Problem]) -> list[SearchResult]:
    return [await beam(problem, policy, REWARD, SETTINGS) for problem in chosen]


def compare_together(options: argparse.Namespace) -> None:
    chosen = problems(options.problems)
    seconds: dict[Callable[..., object], list[float]] = {together: [], one_after_the_other: []}
    found = {}
    for _ in range(options.repeats):
        for side in (together, one_after_the_other):
            policy = bundled.load()
            start = time.perf_counter()
            found[side] = asyncio.run(side(policy, chosen))
            seconds[side].append(time.perf_counter() - start)
            policy.close()
    alike = [[node.token_ids for one in results for node in one.nodes] for results in found.values()]
    ratios = sorted(b / a for a, b in zip(*seconds.values(), strict=True))
    at_once, alone = (statistics.median(one) for one in seconds.values())
    spent = Cost.total(one.cost for one in found[together])
    print(
        f"together: {len(chosen)} beam searches at once {at_once:.1f} s, one after the other {alone:.1f} s; ratio "
        f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}); {spent.generated:,} tokens generated; "
        f"{'the same trees' if alike[0] == alike[1] else 'trees DIFFER'}"
    )


def compare_cache(options: argparse.Namespace) -> None:
    chosen = problems(min(options.problems, 32))

    async def search(name: str) -> list[SearchResult]:
        strategy, kind = STRATEGIES[name]
        policy = bundled.load()
        try:
            settings = kind(max_tokens=256)
            return await asyncio.gather(*(strategy(problem, policy, REWARD, settings) for problem in chosen))
        finally:
            policy.close()

    for name in sorted(STRATEGIES.keys() - {"auto"}):  # which is one of the others
        spent = Cost.total(one.cost for one in asyncio.run(search(name)))
        computed = spent.prompt + spent.generated
        print(
            f"cache: {name:10} computed {computed:9,} tokens, without the cache {computed + spent.cached:11,}; ratio "
            f"{(computed + spent.cached) / computed:.1f}",
            flush=True,
        )


def compare_its_hub(options: argparse.Namespace) -> None:
    chosen = problems(options.problems)
    sides: dict[str, Callable[[], list[str | None]]] = {
        "ours": lambda: asyncio.run(ours(options.url, chosen, len(figures["ours"]))),
        "its_hub": lambda: theirs(options, chosen),
    }
    figures: dict[str, list[tuple[float, float, float]]] = {name: [] for name in sides}
    for _ in range(options.repeats):
        for name, side in sides.items():
            before, start = generated(options.url), time.perf_counter()
            answers = side()
            seconds, tokens = time.perf_counter() - start, generated(options.url) - before
            right = sum(grade(p, answer).correct for p, answer in zip(chosen, answers, strict=True)) / len(chosen)
            figures[name].append((right, tokens / len(chosen), seconds))
    for name, rows in figures.items():
        right, tokens, seconds = (statistics.median(column) for column in zip(*rows, strict=True))
        spread = ", ".join(f"{row[0]:.1%}" for row in rows)
        print(
            f"its_hub: {name:8} right {right:.1%} ({spread}), {tokens:,.0f} tokens generated per problem, "
            f"{seconds:.1f} s for {len(chosen)} problems"
        )


async def ours(url: str, chosen: Sequence[Problem], seed: int) -> list[str | None]:
    settings = Beam(n=16, m=4, max_tokens=256, choose="best", seed=seed)
    prompt = "<|bos|>{}\n".format
    policy = EndpointPolicy(Client(url), "bundled", server=VLLM, prompt=lambda problem: prompt(problem.question))
    async with policy:
        found = await asyncio.gather(*(beam(problem, policy, REWARD, settings) for problem in chosen))
    return [one.answer for one in found]


def theirs(options: argparse.Namespace, chosen: Sequence[Problem]) -> list[str | None]:
    fields = ("id", "question", "gold", "source")
    told = {"url": options.url, "noise": NOISE}
    told |= {"problems": [{name: getattr(one, name) for name in fields} for one in chosen]}
    source = str(Path(bundled.PATH).parents[3])
    done = subprocess.run(
        [options.its_hub, "-c", PEER],
        input=json.dumps(told),
        capture_output=True,
        env=os.environ | {"PYTHONPATH": source},
        check=False,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"its_hub ended:\n{done.stderr[-2000:]}")
    return [extract(text) for text in json.loads(done.stdout.splitlines()[-1])]


def generated(url: str) -> float:
    """Tokens that the server has generated since it started."""
    lines = httpx2.get(f"{url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("vllm:generation_tokens_total"))


CASES = {"together": compare_together, "cache": compare_cache, "its_hub": compare_its_hub}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--problems", type=int, default=200)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--url")
    parser.add_argument("--its-hub", metavar="PYTHON")
    options = parser.parse_args()
    peer = options.url is not None and options.its_hub is not None
    for name in options.cases or [name for name in CASES if name != "its_hub" or peer]:
        if name not in CASES or (name == "its_hub" and not peer):
            parser.error(f"{name} needs --url and --its-hub" if name in CASES else f"there is no case {name!r}")
        CASES[name](options)


if __name__ == "__main__":
    main()
