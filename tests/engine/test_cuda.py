"""On a GPU the engine draws what it draws on a CPU: the same randomness, and logits that differ by rounding only."""

import asyncio
import copy
import gc

import pytest
import torch

from stepmark.types import Sampling
from tests.engine.reference import FAMILIES, build, engine

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

PROMPTS = [[0, 5, 6, 7, 8], [0, 5, 6, 7, 8, 9, 10, 11], [0, *range(4, 40)]]


@pytest.mark.parametrize("name", FAMILIES)
def test_samples_and_hidden_states_are_those_of_the_cpu(name):
    model = build(name)
    sampling = Sampling(max_tokens=12, seed=3)

    async def run(model):
        backend = engine(model, memory=1 << 24)
        drawn = await asyncio.gather(*(backend.sample(prompt, n, sampling) for prompt in PROMPTS for n in (6, 2)))
        read = await asyncio.gather(*(backend.read(prompt, [2, len(prompt) - 1]) for prompt in PROMPTS))
        return drawn, read

    drawn, read = asyncio.run(run(model))
    drawn_there, read_there = asyncio.run(run(copy.deepcopy(model).to("cuda")))
    for here, there in zip(drawn, drawn_there, strict=True):
        assert [one.token_ids for one in here] == [one.token_ids for one in there]
        assert [one.cost for one in here] == [one.cost for one in there]
        for one, other in zip(here, there, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    for here, there in zip(read, read_there, strict=True):
        torch.testing.assert_close(here.values, there.values.cpu(), atol=1e-4, rtol=1e-4)


def test_a_sample_does_not_depend_on_its_company():
    model = build("llama").to("cuda")
    sampling = Sampling(max_tokens=20, seed=5)

    async def run(prompts):
        backend = engine(model, memory=1 << 26)
        return await asyncio.gather(*(backend.sample(prompt, 8, sampling) for prompt in prompts))

    company = [[0, *(4 + (7 * i + j) % 40 for j in range(5 + i % 20))] for i in range(60)]
    alone = [asyncio.run(run([prompt]))[0] for prompt in company[:5]]
    assert [[one.token_ids for one in several] for several in alone] == [
        [one.token_ids for one in several] for several in asyncio.run(run(company))[:5]
    ]


def test_closing_gives_the_memory_back():
    """To the device, without garbage collection; cuBLAS keeps its workspace, some 32 MiB."""
    gc.collect()
    torch.cuda.empty_cache()
    before = torch.cuda.memory_reserved()
    gc.disable()
    try:
        backend = engine(build("llama").to("cuda"), memory=1 << 28)
        asyncio.run(backend.sample(PROMPTS[0], 8, Sampling(max_tokens=20)))
        assert torch.cuda.memory_reserved() > before + (1 << 27)
        backend.close()
        assert torch.cuda.memory_reserved() < before + (1 << 26)
    finally:
        gc.enable()
