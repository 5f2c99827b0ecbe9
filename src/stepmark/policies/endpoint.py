"""Any server of the OpenAI protocol, completions or chat, as a policy.

What the protocol leaves open is said by a `Server`: `VLLM`, `VLLM_CHAT`, `TRANSFORMERS`, or plain `OPENAI`.

| | exact continuation | end of a step | log-probabilities | same sample again |
|---|---|---|---|---|
| VLLM | token ids are sent, returned and compared | the server says why it stopped | yes | yes, up to rounding |
| VLLM_CHAT | ids are returned and compared | cut here | yes | yes, up to rounding |
| TRANSFORMERS | text, read anew | cut here | no | one request at a time only |
| OPENAI | text, read anew | cut here | where the server tells them | as far as it keeps to `seed` |

- **Rounding**: a server's logits depend a little on what else is in its batch, so now and then a token differs; in
  float32 rarely, in bfloat16 more often. `transformers serve` sets one seed for all that runs in it.
- **The end of a step.** A server strips the newline at which it was told to stop and calls that "stop", as it calls the
  end of a solution. Where it does not say which it was, no stop is sent: the server writes to the end, or to
  `max_tokens`, and what follows the first step is thrown away. The step is the same; all of it is paid for.
- **The end of the context.** vLLM refuses a request for more tokens than its context has, so no more than are left
  after the prompt are asked for, and a solution that is cut there is a `length`. Where prompts are not sent as ids,
  nobody knows here how many those are, and the refusal is an InputError.
- **Costs are the server's own figures.** Each sample is a request of its own, since a server that draws several tells
  their prompt and what it took from the cache once, for one of them. So, other than with `LocalPolicy`, each sample
  carries its prompt. A server that tells no cached tokens (vLLM without `--enable-prompt-tokens-details`) has its whole
  prompt counted as computed. One that tells no usage at all is an error.
- **Not covered**: reasoning that a server takes out of the text (start it without a reasoning parser), tool calls,
  streaming, and the refusal to continue a solution that has ended.
"""

from asyncio import Lock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import TracebackType
from typing import Any, TypeVar

import msgspec

from stepmark.errors import BackendError, InputError
from stepmark.policies.base import check_request, past_blank_lines, seed_at, side_by_side
from stepmark.policies.client import Client
from stepmark.steps import SEPARATOR, join, split
from stepmark.types import Completion, Cost, Finish, Prefix, Problem, Sampling

R = TypeVar("R")

KNOWN = 1 << 16
"""texts whose token ids are kept"""
FINISHES: dict[str, Finish] = {"stop": "stop", "length": "length", "abort": "abort", "content_filter": "abort"}


@dataclass(frozen=True)
class Server:
    """What a server understands beyond the OpenAI protocol."""

    settings: Callable[[Sampling], dict[str, Any]]
    """the fields of a request for a temperature, top-p and top-k; all of them, for what is missing is the server's
    choice"""
    takes_ids: bool = False
    """it encodes texts (`/tokenize`), takes prompts as token ids, and tells ids, `stop_reason` and its context"""
    continues_chat: bool = False
    """its chat goes on within the last message, and tells the ids that it read and wrote"""
    logprobs: int | None = 1
    """of how many alternatives a completion is asked for log-probabilities, so that it tells its own; None: not"""


def _openai(sampling: Sampling) -> dict[str, Any]:
    if sampling.top_k:
        raise InputError("the OpenAI protocol has no top_k", remedy="leave it 0, or say which server it is")
    return {"temperature": sampling.temperature, "top_p": sampling.top_p}


def _vllm(sampling: Sampling) -> dict[str, Any]:
    """vLLM takes what is missing from the model's generation settings, penalties among them."""
    own = {"top_k": sampling.top_k, "min_p": 0.0, "repetition_penalty": 1.0}
    return {"temperature": sampling.temperature, "top_p": sampling.top_p} | own


def _transformers(sampling: Sampling) -> dict[str, Any]:
    """A temperature alone leaves `transformers serve` greedy, unless the model's own settings say otherwise."""
    own: dict[str, Any] = {"do_sample": sampling.temperature > 0, "repetition_penalty": 1.0}
    if sampling.temperature > 0:
        own |= {"temperature": sampling.temperature, "top_p": sampling.top_p, "top_k": sampling.top_k}
    return {"generation_config": msgspec.json.encode(own).decode()}


OPENAI = Server(_openai)
"""the protocol and nothing else"""
VLLM = Server(_vllm, takes_ids=True, logprobs=0)
"""vLLM, completions and chat: a chat's ids come from the server's template, and are continued as ids"""
VLLM_CHAT = Server(_vllm, continues_chat=True)
"""vLLM behind a gateway that lets nothing but chat completions through"""
TRANSFORMERS = Server(_transformers, logprobs=None)
"""`transformers serve`"""
SERVERS = {"openai": OPENAI, "vllm": VLLM, "vllm-chat": VLLM_CHAT, "transformers": TRANSFORMERS}


class EndpointPolicy:
    """Samples from a model that a server of the OpenAI protocol runs; use it within one event loop, in `async with`.

    The prompt is the question closed by a newline, in a chat the question alone, after `system` if it is given;
    `prompt` replaces it. The server encodes it and adds its begin token as it is used to. Ids that the server wrote
    are sent back as they are, if it takes ids; steps that came as text are encoded one by one, as `LocalPolicy` does.
    For a server that does not, the text of the steps is sent and read anew.

    What is read is compared with what was written, wherever the server tells it: a chat template that trims the newline
    after the last step, or a text that is read as other tokens, is a BackendError.

    A sample's seed is made of (seed, index, tokens or characters before it). So a solution drawn at once and one drawn
    step by step differ, other than with `LocalPolicy`; each is the same again, as far as the table above says.
    """

    def __init__(
        self,
        client: Client,
        model: str,
        *,
        server: Server = OPENAI,
        chat: bool = False,
        system: str | None = None,
        prompt: Callable[[Problem], str] | None = None,
    ) -> None:
        """`model` is the name by which the server knows it."""
        if system is not None and not chat:
            raise InputError("a system message is part of a chat", remedy="ask for chat, or leave it out")
        if server.continues_chat and not chat:
            raise InputError("this server has chat completions only", remedy="ask for chat")
        self.client = client
        self.model = model
        self.server = server
        self.chat = chat
        self.system = system
        self.prompt = prompt or (lambda problem: problem.question + ("" if chat else SEPARATOR))
        self._known: dict[str, list[int]] = {}
        self._context: int | None = None
        self._asking = Lock()

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """See `Policy.sample`, and this module's docstring for what a server does not give. A cancelled call closes
        its connections, at which vLLM frees their rows.

        Raises InputError where the server refuses the request and where it cannot continue `prefix`; BackendError where
        it failed, tells no usage, or reads a prefix as other tokens than were written.
        """
        check_request(n, sampling)
        if self.server.takes_ids:
            prompt_T = await self.encode(prefix)
            one = partial(self._by_ids, prompt_T, await self._within_context(len(prompt_T), sampling))
        else:
            one = partial(self._by_text, prefix, sampling)
        return await side_by_side(one, sampling.first, n)

    async def encode(self, prefix: Prefix) -> list[int]:
        """The token ids of the prompt and the steps, from a server that takes ids."""
        text = self.prompt(prefix.problem)
        form = {"messages": self._messages(text)} if self.chat else {"prompt": text}
        prompt = await self._tokens(text, form)
        if prefix.token_ids or not prefix.steps:
            return [*prompt, *(prefix.token_ids or ())]
        lines = [step + SEPARATOR for step in prefix.steps]
        steps = [await self._tokens("\0" + line, {"prompt": line, "add_special_tokens": False}) for line in lines]
        return [*prompt, *(token for step in steps for token in step)]

    async def close(self) -> None:
        """Closes the connections to the server."""
        await self.client.close()

    async def __aenter__(self) -> "EndpointPolicy":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _within_context(self, length: int, sampling: Sampling) -> Sampling:
        """For no more tokens than the context has after a prompt of `length`."""
        async with self._asking:
            if self._context is None:
                served = _decoded(await self.client.get("/v1/models"), _Models).data
                self._context = max((model.max_model_len or 0 for model in served), default=0)
        if not self._context:
            raise BackendError("the server does not tell the length of its context (max_model_len)")
        if length >= self._context:
            raise InputError(f"a prefix of {length} tokens fills the server's context of {self._context}")
        return replace(sampling, max_tokens=min(sampling.max_tokens, self._context - length))

    async def _by_ids(self, prompt_T: list[int], sampling: Sampling, index: int) -> Completion:
        async def ask(ids_T: list[int], limit: int) -> Completion:
            body: dict[str, Any] = {"prompt": ids_T, "max_tokens": limit, "return_token_ids": True}
            if sampling.stop == "step":
                body["stop"] = [SEPARATOR]
            reply = await self._ask("/v1/completions", body, sampling, seed_at(sampling.seed, index, len(ids_T)))
            choice = reply.choices[0]
            _same(ids_T, choice.prompt_token_ids)
            finish = reply.finish()
            if finish == "stop" and choice.stop_reason == SEPARATOR:
                finish = "step"
            return Completion(split(choice.written()), reply.ids(), tuple(reply.logprobs()[1]), finish, reply.cost())

        return await past_blank_lines(ask, prompt_T, sampling.max_tokens)

    async def _by_text(self, prefix: Prefix, sampling: Sampling, index: int) -> Completion:
        path, body = self._text(prefix)
        text = self.prompt(prefix.problem) + join(prefix.steps)
        body |= {"max_tokens": sampling.max_tokens} | ({"return_token_ids": True} if self.server.continues_chat else {})
        reply = await self._ask(path, body, sampling, seed_at(sampling.seed, index, len(text)))
        if prefix.token_ids:
            _same(prefix.token_ids, (reply.prompt_token_ids or [])[-len(prefix.token_ids) :])
        written, finish, ids = reply.choices[0].written(), reply.finish(), reply.ids()
        steps = split(written)
        tokens, logprobs = reply.logprobs()
        if sampling.stop == "step" and SEPARATOR in written.lstrip():
            finish, steps = "step", steps[:1]
            kept = _through_first_step(tokens)
            ids, logprobs = ids[:kept], logprobs[:kept]
        return Completion(steps, ids, tuple(logprobs), finish, reply.cost())

    def _text(self, prefix: Prefix) -> tuple[str, dict[str, Any]]:
        """Path and prompt of a request by text."""
        prompt = self.prompt(prefix.problem)
        if prefix.token_ids and not self.server.continues_chat:
            raise InputError(
                "this server tells no token ids, so nobody could see whether it continues those of the prefix",
                remedy="give the steps as text alone (token_ids=None), or use a server that takes ids",
            )
        if not self.chat:
            return "/v1/completions", {"prompt": prompt + join(prefix.steps)}
        messages = self._messages(prompt)
        if not prefix.steps:
            return "/v1/chat/completions", {"messages": messages}
        if not prefix.token_ids:
            raise InputError(
                "a chat cannot be continued from text: its template may trim the end of the last step, and nobody "
                "could see it",
                remedy="use a server that takes ids, completions, or whole solutions",
            )
        messages.append({"role": "assistant", "content": join(prefix.steps)})
        return "/v1/chat/completions", {
            "messages": messages,
            "continue_final_message": True,
            "add_generation_prompt": False,
        }

    def _messages(self, prompt: str) -> list[dict[str, str]]:
        system = [{"role": "system", "content": self.system}] if self.system is not None else []
        return [*system, {"role": "user", "content": prompt}]

    async def _ask(self, path: str, body: dict[str, Any], sampling: Sampling, seed: int) -> "_Reply":
        body |= {"model": self.model, "seed": seed} | self.server.settings(sampling)
        if self.server.logprobs is not None:
            body["logprobs"] = True if "messages" in body else self.server.logprobs
        return _decoded(await self.client.post(path, body), _Reply)

    async def _tokens(self, name: str, form: dict[str, Any]) -> list[int]:
        if name not in self._known:
            reply = _decoded(await self.client.post("/tokenize", {"model": self.model} | form), _Tokens)
            if len(self._known) >= KNOWN:
                del self._known[next(iter(self._known))]
            self._known[name] = reply.tokens
        return self._known[name]


def _same(written_T: Sequence[int], read_T: Sequence[int] | None) -> None:
    """Raises BackendError where a server read other ids than those that it was to continue."""
    if not read_T:
        raise BackendError("the server does not tell the ids that it read, so nobody can see what it continues")
    if list(read_T) != list(written_T):
        raise BackendError(
            f"the server continues other tokens than were written: it read ...{list(read_T[-8:])}, written was "
            f"...{list(written_T[-8:])}; its chat template trims the text, or its tokenizer reads it otherwise"
        )


def _through_first_step(tokens: Sequence[str]) -> int:
    """The number of tokens through the one that ends the first step; none where the tokens' texts are not known."""
    text = ""
    for count, token in enumerate(tokens, 1):
        text = (text + token).lstrip()
        if SEPARATOR in text:
            return count
    return 0


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int
    prompt_tokens_details: _Details | None = None


class _Token(msgspec.Struct):
    token: str
    logprob: float


class _Logprobs(msgspec.Struct):
    """Of a completion (two lists), or of a chat (`content`)."""

    tokens: list[str] | None = None
    token_logprobs: list[float] | None = None
    content: list[_Token] | None = None


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class _Choice(msgspec.Struct):
    finish_reason: str
    text: str | None = None
    message: _Message | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    logprobs: _Logprobs | None = None

    def written(self) -> str:
        if self.message is None:
            return self.text or ""
        if self.message.reasoning or self.message.reasoning_content:
            raise BackendError(
                "the server took the reasoning out of the text, so steps are missing; start it without a reasoning "
                "parser"
            )
        return self.message.content or ""


class _Reply(msgspec.Struct):
    """What a server answers, as far as it is read here: one choice, and what it used."""

    choices: list[_Choice]
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None

    def __post_init__(self) -> None:
        if len(self.choices) != 1:
            raise ValueError(f"{len(self.choices)} choices where one was asked for")

    def finish(self) -> Finish:
        reason = self.choices[0].finish_reason
        if reason not in FINISHES:
            raise BackendError(f"the server ended a sample for a reason that is not known here: {reason!r}")
        return FINISHES[reason]

    def ids(self) -> tuple[int, ...]:
        ids = tuple(self.choices[0].token_ids or ())
        if ids and len(ids) != self.cost().generated:
            raise BackendError(
                f"the server says that it generated {self.cost().generated} tokens, and gives {len(ids)}"
            )
        return ids

    def logprobs(self) -> tuple[list[str], list[float]]:
        """The text and the log-probability of each token; none where the server does not tell them."""
        found = self.choices[0].logprobs or _Logprobs()
        if found.content is not None:
            return [one.token for one in found.content], [one.logprob for one in found.content]
        return found.tokens or [], found.token_logprobs or []

    def cost(self) -> Cost:
        if self.usage is None:
            raise BackendError("the server tells no token usage, so what its samples cost is not known")
        details = self.usage.prompt_tokens_details
        cached = (details.cached_tokens or 0) if details else 0
        return Cost(
            prompt=self.usage.prompt_tokens - cached, cached=cached, generated=self.usage.completion_tokens, requests=1
        )


class _Tokens(msgspec.Struct):
    tokens: list[int]


class _Model(msgspec.Struct):
    max_model_len: int | None = None


class _Models(msgspec.Struct):
    """What a server serves: a model, and adapters of it, which do not tell the context that they share."""

    data: list[_Model]


def _decoded(content: bytes, kind: type[R]) -> R:
    try:
        return msgspec.json.decode(content, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendError(f"the server's answer cannot be read: {error}: {content[:200]!r}") from error
