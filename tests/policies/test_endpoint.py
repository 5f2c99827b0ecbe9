"""The endpoint policy against a small server of the OpenAI protocol in this process, whose tokens are characters."""

import asyncio
import json
from dataclasses import replace

import httpx2
import pytest

from stepmark.errors import BackendError, InputError
from stepmark.policies import client as module
from stepmark.policies.client import Client
from stepmark.policies.endpoint import OPENAI, TRANSFORMERS, VLLM, VLLM_CHAT, EndpointPolicy
from stepmark.types import Cost, Prefix, Problem, Sampling

PROBLEM = Problem("p", "1+1?", "2", "test")
EMPTY = Prefix(PROBLEM)
SOLUTION = "one\n\n two\nAnswer: 2\n"
END, BEGIN = 0, 1


def ids_of(text):
    return [ord(character) for character in text]


class Server:
    """Writes what is left of `solution` after the prompt, and its end token; strips the string at which it was told to
    stop, and says "stop" both there and at the end, as servers do. `change` edits an answer before it is sent."""

    def __init__(self, solution=SOLUTION, *, trims=False, context=1000, change=lambda reply: reply):
        self.solution, self.trims, self.context, self.change = solution, trims, context, change
        self.chat, self.bodies = False, []

    def __call__(self, request):
        if request.url.path == "/v1/models":
            return httpx2.Response(200, json={"data": [{"id": "m", "max_model_len": self.context}, {"id": "adapter"}]})
        body = json.loads(request.content)
        self.bodies.append((request.url.path, body))
        if request.url.path == "/tokenize":
            begin = [BEGIN] if body.get("add_special_tokens", True) else []
            self.chat |= "messages" in body
            return httpx2.Response(200, json={"tokens": begin + self.read(body)})
        if len(self.read(body)) + body["max_tokens"] > self.context:
            words = f"maximum context length is {self.context} tokens"
            return httpx2.Response(400, json={"error": {"message": words}})
        return httpx2.Response(200, json=self.change(self.reply(body)))

    def read(self, body):
        if "messages" in body:
            texts = [m["content"].strip() if self.trims else m["content"] for m in body["messages"]]
            said = "".join(f"<{m['role']}>{text}" for m, text in zip(body["messages"], texts, strict=True))
            return ids_of(said + ("" if body.get("continue_final_message") else "<assistant>"))
        return body["prompt"] if isinstance(body["prompt"], list) else ids_of(body["prompt"])

    def reply(self, body):
        prompt = self.read(body)
        written = "".join(map(chr, prompt)).partition("<assistant>" if "messages" in body or self.chat else "1+1?\n")[2]
        left = self.solution[len(written) :]
        ids, reason, text = [*ids_of(left), END], None, left
        finish = "stop"
        for stop in body.get("stop", []):
            if stop in left:
                text, reason = left.split(stop)[0], stop
                ids = ids_of(text + stop)
        if len(ids) > body["max_tokens"]:
            ids, finish, reason = ids[: body["max_tokens"]], "length", None
            text = text[: body["max_tokens"]]
        tokens = [chr(i) if i else "<end>" for i in ids]
        chat = "messages" in body
        logprobs = [-0.5] * len(ids)
        choice = {
            "index": 0,
            "finish_reason": finish,
            **({"message": {"role": "assistant", "content": text}} if chat else {"text": text}),
            "logprobs": {"content": [{"token": t, "logprob": p} for t, p in zip(tokens, logprobs, strict=True)]}
            if chat
            else {"tokens": tokens, "token_logprobs": logprobs},
        }
        details = {"prompt_tokens_details": {"cached_tokens": 2}}
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)} | details
        reply = {"choices": [choice], "usage": usage}
        if body.get("return_token_ids"):
            choice |= {"token_ids": ids, "stop_reason": reason}
            (reply if chat else choice)["prompt_token_ids"] = prompt
        return reply

    def sample(self, sampling, prefix=EMPTY, n=1, **options):
        async def run():
            async with EndpointPolicy(
                Client("http://s", transport=httpx2.MockTransport(self)), "m", **options
            ) as policy:
                return await policy.sample(prefix, n, sampling)

        return asyncio.run(run())


SERVERS = [
    pytest.param({"server": VLLM}, id="vllm"),
    pytest.param({"server": VLLM, "chat": True}, id="vllm, chat by ids"),
    pytest.param({"server": VLLM_CHAT, "chat": True}, id="vllm, chat alone"),
    pytest.param({"server": OPENAI}, id="openai"),
]
CHAT = {"server": VLLM_CHAT, "chat": True}


@pytest.mark.parametrize("options", [*SERVERS, {"server": OPENAI, "chat": True}, {"server": TRANSFORMERS}])
def test_a_whole_solution(options):
    (only,) = Server().sample(Sampling(), **options)
    assert only.steps == ("one", " two", "Answer: 2")
    assert only.finish == "stop"
    assert only.cost.generated == len(SOLUTION) + 1


@pytest.mark.parametrize("options", SERVERS)
def test_a_step_is_told_from_the_end_and_steps_continue_where_they_ended(options):
    """Drawn step by step, a solution is what it is drawn at once: blank lines are no steps, the end is no step, and
    the ids that were written are the ids that are continued. A text has no blank lines, so without ids there are none
    to continue."""
    solution = SOLUTION if options["server"] is VLLM else SOLUTION.replace("\n\n", "\n")
    server, prefix, finishes = Server(solution), EMPTY, []
    for _ in range(4):
        (step,) = server.sample(Sampling(stop="step"), prefix, **options)
        finishes.append(step.finish)
        assert len(step.logprobs) == len(step.token_ids) or not step.token_ids
        prefix = replace(prefix, steps=prefix.steps + step.steps, token_ids=prefix.token_ids + step.token_ids)
    assert finishes == ["step", "step", "step", "stop"]
    assert prefix.steps == ("one", " two", "Answer: 2")
    assert prefix.token_ids == (() if options["server"] is OPENAI else (*ids_of(solution), END))


def test_a_blank_line_that_a_chat_cannot_repeat_is_found_out():
    (step,) = Server("\none\ntwo\n").sample(Sampling(stop="step"), **CHAT)
    assert step.token_ids == tuple(ids_of("\none\n"))
    with pytest.raises(BackendError, match="other tokens than were written"):
        Server("\none\ntwo\n").sample(Sampling(), Prefix(PROBLEM, step.steps, step.token_ids), **CHAT)


@pytest.mark.parametrize("options", SERVERS)
@pytest.mark.parametrize("limit", range(1, len(SOLUTION) + 2))
def test_a_cut_is_never_a_stop_nor_a_step(options, limit):
    whole = Server().sample(Sampling(max_tokens=limit), **options)[0]
    assert whole.finish == ("stop" if limit > len(SOLUTION) else "length")
    step = Server().sample(Sampling(max_tokens=limit, stop="step"), **options)[0]
    assert step.finish == ("step" if limit >= len("one\n") else "length")


@pytest.mark.parametrize("options", SERVERS)
def test_blank_lines_before_the_limit_are_no_step(options):
    (cut,) = Server("\n\n\nlate\n").sample(Sampling(max_tokens=3, stop="step"), **options)
    assert (cut.steps, cut.finish, cut.cost.generated) == ((), "length", 3)
    (step,) = Server("\n\n\nlate\n").sample(Sampling(max_tokens=9, stop="step"), **options)
    assert (step.steps, step.finish) == (("late",), "step")


@pytest.mark.parametrize("stop", ["end", "step"])
def test_a_solution_that_the_context_cuts_is_a_length(stop):
    """Though more tokens were asked for than the server has, blank lines among them."""
    prompt = len("1+1?\n") + 1
    (cut,) = Server("\n\nlate\n", context=prompt + 4).sample(Sampling(stop=stop), server=VLLM)
    assert (cut.steps, cut.finish, cut.cost.generated) == (("la",), "length", 4)
    with pytest.raises(InputError, match=f"prefix of {prompt} tokens fills the server's context of {prompt}"):
        Server(context=prompt).sample(Sampling(), server=VLLM)
    with pytest.raises(BackendError, match="max_model_len"):
        Server(context=None).sample(Sampling(), server=VLLM)


def test_the_context_is_asked_for_once():
    server, paths = Server(), []

    def noting(request):
        paths.append(request.url.path)
        return server(request)

    async def run():
        async with EndpointPolicy(
            Client("http://s", transport=httpx2.MockTransport(noting)), "m", server=VLLM
        ) as policy:
            await asyncio.gather(*(policy.sample(EMPTY, 2, Sampling()) for _ in range(5)))

    asyncio.run(run())
    assert paths.count("/v1/models") == 1
    assert paths.count("/v1/completions") == 10


def test_a_server_that_refuses_what_its_context_does_not_hold_is_an_error_with_the_remedy():
    with pytest.raises(InputError, match=r"maximum context length is 9 tokens \(lower max_tokens"):
        Server(context=9).sample(Sampling(), server=OPENAI)


def test_every_sample_is_a_request_with_a_seed_of_its_own_and_its_own_figures():
    server = Server()
    samples = server.sample(Sampling(seed=7), n=4, server=VLLM)
    bodies = [body for path, body in server.bodies if path == "/v1/completions"]
    assert len({body["seed"] for body in bodies}) == 4
    assert all("n" not in body for body in bodies)
    prompt = len("1+1?\n") + 1
    each = Cost(prompt=prompt - 2, cached=2, generated=len(SOLUTION) + 1, requests=1)
    assert [sample.cost for sample in samples] == [each] * 4


def test_a_seed_depends_on_seed_index_and_place_alone():
    """So sample i is the same among 2 as among 5, and no step repeats the random numbers of the one before it."""

    def seeds(sampling, n, prefix=EMPTY):
        server = Server()
        server.sample(sampling, prefix, n=n, server=VLLM)
        return [body["seed"] for path, body in server.bodies if path == "/v1/completions"]

    assert set(seeds(Sampling(seed=1), 2)) < set(seeds(Sampling(seed=1), 5))
    later = seeds(Sampling(seed=1), 5, Prefix(PROBLEM, ("one",), tuple(ids_of("one\n"))))
    assert not set(later) & set(seeds(Sampling(seed=1), 5))
    assert not set(seeds(Sampling(seed=2), 5)) & set(seeds(Sampling(seed=1), 5))
    assert all(0 <= seed < 2**63 for seed in later)


def test_steps_that_came_as_text_are_encoded_one_by_one_without_begin_token():
    server = Server()
    server.sample(Sampling(), Prefix(PROBLEM, ("one", " two"), None), server=VLLM)
    assert server.bodies[-1][1]["prompt"] == [BEGIN, *ids_of("1+1?\none\n two\n")]


def test_a_chat_template_that_trims_the_last_newline_is_found_out():
    step = Prefix(PROBLEM, ("one",), tuple(ids_of("one\n")))
    with pytest.raises(BackendError, match=r"other tokens than were written.*trims"):
        Server(trims=True).sample(Sampling(), step, **CHAT)
    assert (
        Server(trims=True).sample(Sampling(), step, server=VLLM, chat=True)[0].finish == "stop"
    )  # ids are not trimmed


def test_a_server_that_reads_other_ids_than_it_was_sent_is_found_out():
    def shifted(reply):
        reply["choices"][0]["prompt_token_ids"].insert(0, BEGIN)
        return reply

    with pytest.raises(BackendError, match="other tokens"):
        Server(change=shifted).sample(Sampling(), server=VLLM)


@pytest.mark.parametrize(
    ("options", "prefix", "words"),
    [
        ({"server": OPENAI, "chat": True}, Prefix(PROBLEM, ("one",), None), "cannot be continued from text"),
        ({"server": OPENAI}, Prefix(PROBLEM, ("one",), (1, 2)), "tells no token ids"),
        (CHAT, Prefix(PROBLEM, ("one",), None), "may trim"),
    ],
)
def test_what_could_not_be_seen_to_continue_exactly_is_refused(options, prefix, words):
    with pytest.raises(InputError, match=words):
        Server().sample(Sampling(), prefix, **options)


def without(*path):
    def change(reply):
        part = reply
        for name in path[:-1]:
            part = part[name]
        del part[path[-1]]
        return reply

    return change


def altered(**fields):
    return lambda reply: {**reply, "choices": [reply["choices"][0] | fields]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without("usage"), "no token usage"),
        (without("choices", 0, "finish_reason"), "cannot be read.*finish_reason"),
        (without("choices", 0, "prompt_token_ids"), "does not tell the ids"),
        (altered(finish_reason="mystery"), "not known here: 'mystery'"),
        (altered(token_ids=[1]), "and gives 1"),
        (altered(message={"content": "2", "reasoning": "1+1"}), "reasoning parser"),
        (lambda reply: reply | {"choices": reply["choices"] * 2}, "2 choices where one was asked for"),
        (lambda reply: reply | {"choices": []}, "0 choices"),
        (lambda reply: [], "cannot be read"),
    ],
)
def test_an_answer_that_cannot_be_trusted_is_an_error(change, words):
    with pytest.raises(BackendError, match=words):
        Server(change=change).sample(Sampling(), server=VLLM)


def test_tokens_from_a_cache_that_the_server_does_not_tell_count_as_computed():
    (only,) = Server(change=without("usage", "prompt_tokens_details")).sample(Sampling(), server=VLLM)
    assert (only.cost.prompt, only.cost.cached) == (len("1+1?\n") + 1, 0)


def test_content_that_was_filtered_is_no_solution():
    assert Server(change=altered(finish_reason="content_filter")).sample(Sampling(), server=VLLM)[0].finish == "abort"


def test_each_server_gets_all_of_the_distribution():
    """What a request leaves out is the server's choice: the model's own penalties, or greedy for all temperatures."""
    sampling = Sampling(temperature=0.5, top_p=0.9, top_k=3)

    def body(sampling, **options):
        server = Server()
        server.sample(sampling, **options)
        return server.bodies[-1][1]

    vllm = body(sampling, server=VLLM)
    assert {name: vllm[name] for name in ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")} == {
        **{"temperature": 0.5, "top_p": 0.9, "top_k": 3, "min_p": 0.0, "repetition_penalty": 1.0}
    }
    own = json.loads(body(sampling, server=TRANSFORMERS)["generation_config"])
    assert own == {"do_sample": True, "temperature": 0.5, "top_p": 0.9, "top_k": 3, "repetition_penalty": 1.0}
    greedy = json.loads(body(Sampling(temperature=0), server=TRANSFORMERS)["generation_config"])
    assert greedy == {"do_sample": False, "repetition_penalty": 1.0}
    with pytest.raises(InputError, match="no top_k"):
        body(sampling, server=OPENAI)


def test_a_chat_has_its_system_message_first():
    server = Server()
    server.sample(Sampling(), server=OPENAI, chat=True, system="Think in lines.")
    assert server.bodies[0][1]["messages"] == [
        {"role": "system", "content": "Think in lines."},
        {"role": "user", "content": "1+1?"},
    ]
    for options in ({"system": "s"}, {"server": VLLM_CHAT}):
        with pytest.raises(InputError):
            Server().sample(Sampling(), **options)


def test_the_first_failure_ends_the_call_and_its_other_requests(monkeypatch):
    monkeypatch.setattr(module, "FIRST_DELAY", 0.0)
    done = []

    async def answer(request):
        if json.loads(request.content)["seed"] == seeds[2]:
            return httpx2.Response(400, json={"error": {"message": "no"}})
        await asyncio.sleep(60)
        return done.append(request)

    server = Server()
    server.sample(Sampling(), n=4, server=OPENAI)
    seeds = [body["seed"] for _, body in server.bodies]

    async def run():
        async with EndpointPolicy(Client("http://s", transport=httpx2.MockTransport(answer)), "m") as policy:
            await policy.sample(EMPTY, 4, Sampling())

    with pytest.raises(InputError, match="answered 400: no"):
        asyncio.run(run())
    assert done == []
