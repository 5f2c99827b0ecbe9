"""The engine against transformers recomputing the whole sequence at every token."""

import asyncio

import pytest
import torch

from stepmark.engine.decoder import Decoder
from stepmark.errors import BackendError, InputError
from stepmark.types import Cost, Sampling
from tests.engine.reference import draw_alone, engine

PROMPTS = [[0, 5, 6, 7, 8], [0, 5, 6, 7, 8, 9, 10, 11], [0, *range(4, 40)]]


@pytest.mark.parametrize("temperature", [1, 0.3])
def test_samples_equal_those_of_transformers_for_each_family(family, temperature):
    """Shared trunks (6 samples), own prefixes (2), sliding windows, prefixes of prefixes, samples that part early or
    late: the same tokens, the same log-probabilities, the same finish."""
    sampling = Sampling(max_tokens=12, seed=3, temperature=temperature)
    requests = [(prompt, n) for prompt in PROMPTS for n in (6, 2)]

    async def run(model):
        backend = engine(model, memory=1 << 24)
        return await asyncio.gather(*(backend.sample(prompt, n, sampling) for prompt, n in requests))

    for (prompt, n), samples in zip(requests, asyncio.run(run(family)), strict=True):
        for index in range(n):
            ids, logprobs, finish = draw_alone(family, prompt, index, sampling)
            assert (list(samples[index].token_ids), samples[index].finish) == (ids, finish)
            assert samples[index].logprobs == pytest.approx(logprobs, abs=1e-4)


def test_hidden_states_equal_those_of_transformers_for_each_family(family):
    """Computed at once, and on top of a cached prefix."""
    backend = engine(family, memory=1 << 24)
    for prompt in (PROMPTS[2][:20], PROMPTS[2]):
        positions = [len(prompt) - 1, len(prompt) - 3]
        reading = asyncio.run(backend.read(prompt, positions))
        with torch.no_grad():
            expected = family.model(torch.tensor([prompt])).last_hidden_state[0, positions]
        torch.testing.assert_close(reading.values, expected, atol=1e-4, rtol=1e-4)
    assert reading.cost == Cost(scored=len(prompt) - 20, cached=20, requests=1)


def test_weights_are_held_once(family):
    """The model computes as before, with parameters that are parts of the decoder's matrices."""
    prompt = torch.tensor([PROMPTS[2]])
    with torch.no_grad():
        before = family(prompt).logits
        decoder = Decoder(family.model)
        assert torch.equal(family(prompt).logits, before)
    held = {
        tensor.untyped_storage().data_ptr()
        for layer in decoder.layers
        for tensor in vars(layer).values()
        if tensor is not None
    }
    held |= {decoder.embedding.untyped_storage().data_ptr(), decoder.norm.untyped_storage().data_ptr()}
    assert {parameter.untyped_storage().data_ptr() for parameter in family.model.parameters()} == held


def test_an_error_of_the_model_reaches_every_waiting_caller(model):
    backend = engine(model, memory=1 << 24)
    backend.head = backend.rows.head = torch.zeros(3, 3)

    async def run():
        calls = [backend.sample(prompt, 2, Sampling()) for prompt in PROMPTS] + [backend.read(PROMPTS[0], [1])]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(run())
    assert all(isinstance(result, BackendError) for result in results)
    with pytest.raises(BackendError):
        asyncio.run(backend.sample(PROMPTS[0], 1, Sampling()))


@pytest.mark.parametrize("tokens", [[], [0, 48], [-1], [0] * 128])
def test_a_request_that_cannot_be_run_is_refused(model, tokens):
    with pytest.raises(InputError):
        asyncio.run(engine(model, memory=1 << 24).sample(tokens, 1, Sampling()))
