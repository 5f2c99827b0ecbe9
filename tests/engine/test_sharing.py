"""Many requests at once: what they share, what they cost, and what is left when they go."""

import asyncio
import gc
import random
import threading
import weakref
from functools import partial

import pytest
import torch

from stepmark.engine.decoder import Decoder
from stepmark.engine.engine import Engine
from stepmark.errors import BackendError, InputError
from stepmark.types import Cost, Sampling
from tests.engine.reference import NEWLINE, build, engine

QUESTION = [0, *range(4, 24)]


def requests(count, seed=0):
    """Prefixes that share their beginnings, with different numbers of samples and settings."""
    rng = random.Random(seed)
    for number in range(count):
        prompt = QUESTION[: rng.choice([3, 11, 21])] + rng.choices(range(4, 48), k=rng.randint(0, 12))
        sampling = Sampling(
            **{"temperature": rng.choice([0, 0.7, 1]), "top_p": rng.choice([1, 0.9]), "top_k": rng.choice([0, 5])},
            **{"max_tokens": rng.randint(1, 20), "stop": rng.choice(["end", "step"]), "seed": number},
        )
        yield prompt, rng.choice([1, 2, 4, 9, 40]), sampling


def words(samples):
    return [(sample.token_ids, sample.finish) for sample in samples]


def assert_nothing_is_held(backend):
    backend._idle.wait()
    assert not backend._unanswered
    assert backend.samples.count == backend.rows.count == 0
    assert backend.rows.blocks.count == backend.rows.trunks.count == 0
    assert all(node.pins == 0 for node in backend.tree._nodes() if node is not backend.tree.root)
    assert all(node.ready for node in backend.tree._nodes())


def test_company_order_and_room_do_not_change_a_sample(model):
    """Alone with room, and among 60 requests in 7 rows with a cache that must evict all the time."""
    wanted = list(requests(60))
    alone = [asyncio.run(engine(model, memory=1 << 24).sample(*request)) for request in wanted]
    crowded = engine(model, rows=7, memory=model_bytes(model, 600))

    async def run():
        order = random.Random(1).sample(range(60), 60)
        results = await asyncio.gather(*(crowded.sample(*wanted[i]) for i in order))
        return dict(zip(order, results, strict=True))

    together = asyncio.run(run())
    for i in range(60):
        assert words(together[i]) == words(alone[i])
    assert_nothing_is_held(crowded)


def model_bytes(model, tokens):
    return Decoder(model.model).token_bytes * tokens


def test_memory_stays_under_its_limit(model):
    limit = model_bytes(model, 4000)
    backend = engine(model, memory=limit)
    held = (backend.pool.kv, backend.rows.blocks.kv, backend.rows.trunks._kv)
    assert sum(tensor.numel() * tensor.element_size() for tensor in held) <= limit


def test_costs_are_the_tokens_that_the_model_computed(model):
    """Every token fed to the model is a computed prompt token, a scored one, or a generated one that was continued,
    once for all samples of a request that wrote the same up to it; every prompt token is computed or cached."""
    backend = engine(model, rows=64, memory=1 << 24)
    fed, forward = [], backend.decoder.forward
    backend.decoder.forward = lambda ids, positions, attend: fed.append(len(ids)) or forward(ids, positions, attend)
    wanted = list(requests(40, seed=3))

    async def run():
        samples = asyncio.gather(*(backend.sample(*request) for request in wanted))
        readings = asyncio.gather(*(backend.read(prompt, [len(prompt) - 1]) for prompt, _, _ in wanted))
        return await samples, await readings

    drawn, readings = asyncio.run(run())
    samples = [sample for request in drawn for sample in request]
    total = Cost.total([sample.cost for sample in samples] + [reading.cost for reading in readings])
    texts = [{ids[:end] for ids, _ in words(request) for end in range(1, len(ids))} for request in drawn]
    assert sum(fed) == total.prompt + total.scored + sum(map(len, texts))
    assert sum(map(len, texts)) < total.generated - len(samples)
    assert total.generated == sum(len(sample.token_ids) for sample in samples)
    assert total.prompt + total.cached + total.scored == sum(len(prompt) * (n + 1) for prompt, n, _ in wanted)
    assert total.requests == 2 * len(wanted)


def test_one_prefill_for_samples_for_twins_and_for_what_extends_it(model):
    backend = engine(model, memory=1 << 24)
    sampling = Sampling(max_tokens=30, stop="step", seed=4, temperature=2)

    async def twins():
        return await asyncio.gather(*(backend.sample(QUESTION, 5, sampling) for _ in range(3)))

    first, *others = asyncio.run(twins())
    assert [sample.cost.prompt for sample in first] == [len(QUESTION), 0, 0, 0, 0]
    assert [twin[0].cost.prompt for twin in others] == [1, 1]  # the last token, for its hidden state
    step = next(sample for sample in first if sample.token_ids[-1] == NEWLINE)
    (longer,) = asyncio.run(backend.sample([*QUESTION, *step.token_ids], 1, sampling))
    assert longer.cost.prompt == 1  # the step's last token was drawn but never fed
    assert longer.cost.cached == len(QUESTION) + len(step.token_ids) - 1


def test_scoring_a_solution_that_extends_a_scored_one_costs_the_new_step(model):
    solution, cut = [*QUESTION, *range(30, 45)], len(QUESTION) + 5
    step_by_step = engine(model, memory=1 << 24)
    asyncio.run(step_by_step.read(solution[:cut], [cut - 1]))
    new = asyncio.run(step_by_step.read(solution, [len(solution) - 1]))
    assert new.cost == Cost(scored=len(solution) - cut, cached=cut, requests=1)
    whole = asyncio.run(engine(model, memory=1 << 24).read(solution, [len(solution) - 1]))
    assert whole.cost == Cost(scored=len(solution), requests=1)
    torch.testing.assert_close(new.values, whole.values, atol=1e-5, rtol=1e-5)


def test_cancelled_searches_leave_nothing_and_disturb_nobody(model):
    backend = engine(model, rows=24, memory=model_bytes(model, 2000))
    wanted = list(requests(150, seed=5))
    expected = [words(asyncio.run(engine(model, memory=1 << 24).sample(*request))) for request in wanted[::10]]
    rng = random.Random(6)

    async def run():
        tasks = [asyncio.create_task(backend.sample(*request)) for request in wanted]
        victims = rng.sample([i for i in range(150) if i % 10], 50)
        for victim in victims:
            await asyncio.sleep(rng.random() * 0.01)
            tasks[victim].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True), victims

    results, victims = asyncio.run(run())
    for i, result in enumerate(results):
        assert not isinstance(result, Exception)
        assert i in victims or not isinstance(result, asyncio.CancelledError)
    assert [words(result) for result in results[::10]] == expected
    asyncio.run(backend.sample(QUESTION, 1, Sampling(max_tokens=1)))
    assert_nothing_is_held(backend)


def test_closing_reaches_every_waiting_caller(model):
    backend = engine(model, rows=4, memory=1 << 24)

    async def run():
        calls = [asyncio.create_task(backend.sample(*request)) for request in requests(30)]
        await asyncio.sleep(0.01)
        backend.close()
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(run())
    assert any(isinstance(result, BackendError) for result in results)
    assert all(isinstance(result, BackendError | list) for result in results)
    with pytest.raises(BackendError, match="closed"):
        asyncio.run(backend.read(QUESTION, [0]))


@pytest.mark.parametrize("failing", [False, True])
def test_closing_frees_weights_keys_and_values_at_once(failing):
    """Without garbage collection, though somebody holds the engine, and the error that it failed with."""
    model = build("llama-gqa-bias-tied")
    backend = engine(model, memory=1 << 24)
    asyncio.run(backend.sample(QUESTION, 5, Sampling(max_tokens=4)))
    held = [*model.parameters(), backend.decoder.embedding, backend.decoder.layers[0].qkv, backend.head]
    held += [backend.pool.kv, backend.rows.blocks.kv, backend.rows.trunks._kv]
    held = [weakref.ref(tensor.untyped_storage()) for tensor in held] + [weakref.ref(tensor) for tensor in held]
    assert all(ref() is not None for ref in held)
    gc.disable()
    try:
        error = _failure(backend) if failing else None
        del model
        backend.close()
        backend.close()
        assert [ref() for ref in held] == [None] * len(held)
    finally:
        gc.enable()
    with pytest.raises(BackendError, match="failed" if error else "closed"):
        asyncio.run(backend.sample(QUESTION, 1, Sampling()))


def _failure(backend):
    backend.rows.head = torch.zeros(3, 3)
    with pytest.raises(BackendError) as raised:
        asyncio.run(backend.sample(QUESTION, 5, Sampling(max_tokens=4)))
    return raised.value


def test_engines_take_turns_in_one_thread_and_fail_alone(model):
    """Two threads that compute would each have threads of their own for matrix products."""
    wanted, threads = list(requests(20)), set()
    alone = [words(asyncio.run(engine(model, memory=1 << 24).sample(*request))) for request in wanted]
    sound, other, failing = (engine(model, memory=1 << 24) for _ in range(3))
    for backend in (sound, other):
        backend.samples.draw_first = partial(_noting, threads, backend.samples.draw_first)
    failing.decoder.forward = None

    async def run():
        backends = (sound, failing, other)
        calls = [backend.sample(*request) for request in wanted for backend in backends]
        return await asyncio.gather(*calls, return_exceptions=True)

    results = asyncio.run(run())
    assert [words(result) for result in results[::3]] == [words(result) for result in results[2::3]] == alone
    assert all(isinstance(result, BackendError) for result in results[1::3])
    assert len(threads) == 1
    for backend in (sound, other):
        assert_nothing_is_held(backend)


def _noting(threads, function):
    threads.add(threading.current_thread())
    return function()


def test_a_request_that_can_never_fit_is_refused_at_once(model):
    small = engine(model, memory=model_bytes(model, 160))
    with pytest.raises(InputError, match="does not fit"):
        asyncio.run(small.sample(QUESTION, 1, Sampling(max_tokens=100)))
    with pytest.raises(InputError, match="do not fit"):
        asyncio.run(small.read([0] * 100, [0]))


def test_a_model_without_a_head_only_reads(model):
    reader = Engine(Decoder(model.model), memory=1 << 24)
    reading = asyncio.run(reader.read(QUESTION, [0, 5]))
    assert reading.values.shape == (2, 64)
    with pytest.raises(InputError):
        asyncio.run(reader.sample(QUESTION, 1, Sampling()))
