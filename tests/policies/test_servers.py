"""The endpoint policy on real servers, vLLM and `transformers serve`, with the bundled model, beside the engine."""

import asyncio
from dataclasses import replace

import pytest

from stepmark.cli import main
from stepmark.errors import BackendError, InputError
from stepmark.policies import bundled
from stepmark.policies.client import Client
from stepmark.policies.endpoint import OPENAI, TRANSFORMERS, VLLM, VLLM_CHAT, EndpointPolicy
from stepmark.problems import quantities
from stepmark.records import read, write
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling, Solution

pytestmark = pytest.mark.timeout(600)

PROBLEMS = list(quantities.generate("test", 8, levels=(1, 2, 3, 4)))
GREEDY = Sampling(temperature=0)


@pytest.fixture(scope="module")
def local():
    policy = bundled.load()
    yield policy
    policy.close()


def prompt(problem: Problem) -> str:
    """As the bundled model was trained; its tokenizer adds no begin token of its own."""
    return f"<|bos|>{problem.question}\n"


def run(url, model, ask, *, at_once=64, **options):
    async def main():
        async with EndpointPolicy(Client(url, at_once=at_once), model, **options) as policy:
            return await ask(policy)

    return asyncio.run(main())


def on_vllm(url, ask, **options):
    return run(url, "bundled", ask, **({"server": VLLM, "prompt": prompt} | options))


def on_transformers(url, ask, **options):
    return run(url, str(bundled.PATH), ask, **({"server": TRANSFORMERS, "prompt": prompt} | options))


async def whole(policy, sampling=GREEDY, n=1):
    return await asyncio.gather(*(policy.sample(Prefix(problem), n, sampling) for problem in PROBLEMS))


async def stepwise(policy, problem) -> tuple[Prefix, list[Completion]]:
    """A greedy solution drawn step by step."""
    prefix, drawn = Prefix(problem), []
    while not drawn or drawn[-1].finish == "step":
        (step,) = await policy.sample(prefix, 1, replace(GREEDY, stop="step"))
        drawn.append(step)
        prefix = replace(prefix, steps=prefix.steps + step.steps, token_ids=prefix.token_ids + step.token_ids)
    return prefix, drawn


def test_greedy_solutions_of_vllm_are_those_of_the_engine_token_for_token(vllm_url, local):
    """Three implementations of one model in float32; their log-probabilities differ by rounding."""
    theirs, ours = on_vllm(vllm_url, whole), asyncio.run(whole(local))
    for [one], [other] in zip(theirs, ours, strict=True):
        assert (one.token_ids, one.steps, one.finish) == (other.token_ids, other.steps, other.finish)
        assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
        assert one.cost.prompt + one.cost.cached == other.cost.prompt + other.cost.cached
        assert one.cost.generated == other.cost.generated


def test_the_context_ends_a_solution_of_vllm_as_one_of_the_engine(vllm_url, local):
    """Nearly full of steps, it has room for fewer tokens than are asked for, which vLLM by itself refuses."""
    context, empty = local.engine.decoder.context, len(local.encode(Prefix(PROBLEMS[0])))
    each = len(local.encode(Prefix(PROBLEMS[0], ("1 + 1 = 2",)))) - empty
    prefix = Prefix(PROBLEMS[0], ("1 + 1 = 2",) * ((context - empty - 1) // each))
    sampling = replace(GREEDY, max_tokens=10 * context)
    [one] = on_vllm(vllm_url, lambda policy: policy.sample(prefix, 1, sampling))
    [other] = asyncio.run(local.sample(prefix, 1, sampling))
    assert (one.token_ids, one.finish) == (other.token_ids, other.finish)
    assert one.finish == "length" or one.cost.generated <= each


def test_greedy_solutions_of_transformers_serve_are_those_of_the_engine(transformers_url, local):
    theirs, ours = on_transformers(transformers_url, whole), asyncio.run(whole(local))
    for [one], [other] in zip(theirs, ours, strict=True):
        assert (one.steps, one.finish, one.cost.generated) == (other.steps, other.finish, other.cost.generated)


@pytest.mark.parametrize("options", [{}, {"chat": True, "prompt": None}], ids=["completions", "chat"])
def test_vllm_continues_exactly_what_it_wrote(vllm_url, options):
    for problem in PROBLEMS[:3]:
        [at_once] = on_vllm(vllm_url, lambda policy, p=problem: policy.sample(Prefix(p), 1, GREEDY), **options)
        prefix, drawn = on_vllm(vllm_url, lambda policy, p=problem: stepwise(policy, p), **options)
        assert prefix.token_ids == at_once.token_ids
        assert prefix.steps == at_once.steps
        assert [step.finish for step in drawn] == ["step"] * len(at_once.steps) + ["stop"]
        assert sum(step.cost.generated for step in drawn) == at_once.cost.generated


def test_vllm_caches_what_it_continues_and_says_so(vllm_url):
    problem = max(PROBLEMS, key=lambda problem: len(problem.question))
    _, drawn = on_vllm(vllm_url, lambda policy: stepwise(policy, problem))
    assert drawn[-1].cost.cached > 0


def test_transformers_serve_is_cut_after_a_step_and_pays_for_the_rest(transformers_url, local):
    problem = PROBLEMS[3]
    [ours] = asyncio.run(local.sample(Prefix(problem), 1, GREEDY))
    prefix, drawn = on_transformers(transformers_url, lambda policy: stepwise(policy, problem))
    assert prefix.steps == ours.steps
    assert [step.finish for step in drawn] == ["step"] * len(ours.steps) + ["stop"]
    assert drawn[0].cost.generated == ours.cost.generated


def test_vllm_draws_sample_i_again_whatever_is_drawn_beside_it(vllm_url):
    few = on_vllm(vllm_url, lambda policy: policy.sample(Prefix(PROBLEMS[3]), 3, Sampling(seed=5)))
    among_many = on_vllm(vllm_url, lambda policy: whole(policy, Sampling(seed=5), n=8))[3]
    assert [one.token_ids for one in few] == [one.token_ids for one in among_many[:3]]
    assert len({one.token_ids for one in among_many}) > 1


def test_transformers_serve_draws_at_the_temperature_and_one_at_a_time_the_same_again(transformers_url):
    def draw():
        hot = Sampling(temperature=1.5, seed=5)
        return on_transformers(transformers_url, lambda policy: policy.sample(Prefix(PROBLEMS[3]), 4, hot), at_once=1)

    first, second = draw(), draw()
    assert [one.steps for one in first] == [one.steps for one in second]
    assert len({one.steps for one in first}) > 1  # a temperature alone would leave it greedy


def test_a_cut_is_a_cut(vllm_url, transformers_url):
    for ask, url in ((on_vllm, vllm_url), (on_transformers, transformers_url)):
        [cut] = ask(url, lambda policy: policy.sample(Prefix(PROBLEMS[3]), 1, replace(GREEDY, max_tokens=9)))
        assert (cut.finish, cut.cost.generated) == ("length", 9)


def test_a_chat_template_that_trims_is_found_out_where_only_text_can_be_sent(vllm_url):
    gateway = {"server": VLLM_CHAT, "chat": True, "prompt": None}
    problem = PROBLEMS[3]
    [step] = on_vllm(vllm_url, lambda p: p.sample(Prefix(problem), 1, replace(GREEDY, stop="step")), **gateway)
    assert step.finish == "step"
    assert len(step.logprobs) == len(step.token_ids)
    with pytest.raises(BackendError, match="other tokens than were written"):
        on_vllm(vllm_url, lambda p: p.sample(Prefix(problem, step.steps, step.token_ids), 1, GREEDY), **gateway)


def test_vllm_as_any_server_of_the_protocol_draws_the_same_solutions(vllm_url):
    plain, own = on_vllm(vllm_url, whole, server=OPENAI), on_vllm(vllm_url, whole)
    assert [one.steps for [one] in plain] == [one.steps for [one] in own]
    assert all(one.cost.requests == 1 and one.cost.generated for [one] in plain)


def test_a_call_given_up_leaves_the_server_free(vllm_url):
    async def ask(policy):
        task = asyncio.create_task(policy.sample(Prefix(PROBLEMS[3]), 32, replace(GREEDY, max_tokens=400)))
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return await policy.sample(Prefix(PROBLEMS[0]), 1, GREEDY)

    [after] = on_vllm(vllm_url, ask)
    assert after.finish == "stop"


def test_what_the_servers_refuse_is_said_in_their_words(vllm_url, transformers_url):
    for url in (vllm_url, transformers_url):
        with pytest.raises(InputError, match="nonesuch"):
            run(url, "nonesuch", whole, server=OPENAI)
    long = replace(PROBLEMS[0], question="Ann has 3. " * 400)
    with pytest.raises(InputError, match="maximum"):
        on_vllm(vllm_url, lambda policy: policy.sample(Prefix(long), 1, GREEDY))


def test_the_whole_of_what_vllm_did_is_accounted_for(vllm_url):
    drawn = on_vllm(vllm_url, lambda policy: whole(policy, Sampling(seed=1), n=4))
    for problem, samples in zip(PROBLEMS, drawn, strict=True):
        length = on_vllm(vllm_url, lambda policy, p=problem: policy.encode(Prefix(p)))
        total = Cost.total(one.cost for one in samples)
        assert total.prompt + total.cached == 4 * len(length)
        assert total.generated == sum(len(one.token_ids) for one in samples)
        assert total.requests == 4


def test_the_command_line_samples_from_a_server(vllm_url, tmp_path):
    write(tmp_path / "problems.jsonl", PROBLEMS)
    options = {"policy": vllm_url, "server": "vllm", "model": "bundled", "prompt": r"<|bos|>{question}\n", "n": 2}
    options |= {"problems": tmp_path / "problems.jsonl", "out": tmp_path / "run", "temperature": 0}
    assert main(["sample", *(str(word) for name, value in options.items() for word in (f"--{name}", value))]) == 0
    drawn = {(one.problem_id, one.index): one for one in read(tmp_path / "run" / "solutions.jsonl", Solution)}
    for problem, [own] in zip(PROBLEMS, on_vllm(vllm_url, whole), strict=True):
        for index in range(2):
            assert drawn[problem.id, index].token_ids == own.token_ids
