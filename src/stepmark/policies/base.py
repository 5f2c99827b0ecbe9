"""What a policy is, and the policy that tests use."""

import asyncio
import hashlib
import math
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Any, Protocol

from stepmark.errors import InputError
from stepmark.steps import SEPARATOR, join, split
from stepmark.types import Completion, Cost, Finish, Prefix, Sampling


class Policy(Protocol):
    """The language model that writes steps (the papers say generator; in labelling, completer)."""

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """`n` continuations of `prefix`, in the order of their sample index, from `sampling.first` on.

        Sample i depends on the prefix and (sampling.seed, i) alone. Its randomness at a token is a function of the
        seed, i, and the token's place in the whole sequence, so a solution drawn step by step with one seed repeats
        no randomness. The costs of the n completions add up to the cost of the call: the first carries the prompt
        and the request, the others took the prompt from the cache.

        With `sampling.stop == "step"` a completion is one step. A solution that has nothing left to say gives a
        completion of no steps with `finish == "stop"`. The ids of a finished solution end with the end token.

        Raises InputError for a request that cannot be served and BackendError when the backend failed.
        """
        ...


def check_request(n: int, sampling: Sampling) -> None:
    """Raises InputError for a number of samples or settings that no policy can serve."""
    if n < 1:
        raise InputError(f"cannot draw {n} samples", remedy="n is at least 1")
    if not (math.isfinite(sampling.temperature) and sampling.temperature >= 0):
        raise InputError(f"temperature {sampling.temperature} is not a number from 0 up", remedy="0 is greedy")
    if not 0 < sampling.top_p <= 1:
        raise InputError(f"top_p {sampling.top_p} is outside (0, 1]", remedy="1 is no limit")
    if sampling.top_k < 0:
        raise InputError(f"top_k {sampling.top_k} is negative", remedy="0 is no limit")
    if sampling.max_tokens < 1:
        raise InputError(f"max_tokens {sampling.max_tokens} leaves no token to draw", remedy="at least 1")
    if sampling.first < 0:
        raise InputError(f"there is no sample {sampling.first}", remedy="samples are counted from 0")
    if sampling.stop not in ("end", "step"):
        raise InputError(f"stop {sampling.stop!r} is unknown", remedy='"end" or "step"')


def seed_at(seed: int, index: int, place: int) -> int:
    """A seed (63 bits) for a backend that starts its random numbers anew with every request: of sample `index`, where
    `place` tokens stand before it. With the caller's own seed every step of a solution would repeat them."""
    return seed_from(seed, index, place)


def seed_from(*parts: object) -> int:
    """A seed (63 bits) that hangs on all of the parts."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:8]) >> 1


async def past_blank_lines(
    ask: Callable[[list[int], int], Awaitable[Completion]], prompt_T: list[int], max_tokens: int
) -> Completion:
    """One sample of a backend that ends a step at any newline. `ask(ids, limit)` continues ids by `limit` tokens at
    most; a blank line is no step, so after one it is asked to go on."""
    drawn = await ask(prompt_T, max_tokens)
    while drawn.finish == "step" and not drawn.steps:
        if len(drawn.token_ids) >= max_tokens:
            return replace(drawn, finish="length")
        more = await ask([*prompt_T, *drawn.token_ids], max_tokens - len(drawn.token_ids))
        drawn = Completion(
            more.steps,
            drawn.token_ids + more.token_ids,
            drawn.logprobs + more.logprobs,
            more.finish,
            drawn.cost + more.cost,
        )
    return drawn


async def side_by_side(one: Callable[[int], Coroutine[Any, Any, Completion]], first: int, n: int) -> list[Completion]:
    """n samples from index `first` on, each a request of its own, all at once. The first failure ends the others."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(index)) for index in range(first, first + n)]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


class ScriptedPolicy:
    """A policy whose samples are given by a function; its tokens are characters, so that costs can be told by hand.

    `script(prefix, index, seed)` returns all that sample `index` still has to say: the text of the remaining steps,
    each closed by a newline except perhaps the last; an empty text is a solution with nothing left to say. A text is
    cut where a real policy stops: after its first step with `stop="step"`, and at `max_tokens`. Its end costs the end
    token. Every token has log-probability 0. Calls are recorded in `calls`, in order.
    """

    END = 0
    """the id of the end token"""

    def __init__(self, script: Callable[[Prefix, int, int], str]) -> None:
        self.script = script
        self.calls: list[tuple[Prefix, int, Sampling]] = []

    @classmethod
    def replies(cls, texts: Sequence[str]) -> "ScriptedPolicy":
        """Sample i of any request says `texts[i]`, starting over after the last one."""
        return cls(lambda prefix, index, seed: texts[index % len(texts)])

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        check_request(n, sampling)
        self.calls.append((prefix, n, sampling))
        prompt = len(prefix.problem.question) + 1 + len(join(prefix.steps))
        return [
            self._completion(prefix, index, sampling, prompt) for index in range(sampling.first, sampling.first + n)
        ]

    def _completion(self, prefix: Prefix, index: int, sampling: Sampling, prompt: int) -> Completion:
        text = self.script(prefix, index, sampling.seed)
        finish: Finish = "stop"
        if sampling.stop == "step" and SEPARATOR in text:
            finish, text = "step", text[: text.index(SEPARATOR) + 1]
        ids = [ord(character) for character in text] + ([self.END] if finish == "stop" else [])
        if len(ids) > sampling.max_tokens:
            finish, ids = "length", ids[: sampling.max_tokens]
        steps = split("".join(chr(token) for token in ids if token != self.END))
        spent = Cost(prompt=prompt, requests=1) if index == sampling.first else Cost(cached=prompt)
        return Completion(steps, tuple(ids), (0.0,) * len(ids), finish, spent + Cost(generated=len(ids)))
