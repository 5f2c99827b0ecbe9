"""vLLM in this process: `pip install stepmark[vllm]`, or beside it the build of vLLM that fits the machine."""

import uuid
from collections.abc import Callable
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer
from vllm import SamplingParams
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.platforms import current_platform
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.exceptions import EngineDeadError, EngineGenerateError

from stepmark.errors import BackendError, InputError
from stepmark.policies.base import check_request, past_blank_lines, seed_at, side_by_side
from stepmark.policies.tokens import encode, plain_prompt
from stepmark.steps import SEPARATOR, split
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling


class VllmPolicy:
    """Samples from a causal language model through vLLM's asynchronous engine, which batches whatever is in flight.

    Prompts, steps, ids and log-probabilities are those of `LocalPolicy`. Each sample is a request of its own and
    carries its prompt's cost, cached tokens as vLLM counts them (whole blocks). A sample's seed is made of (seed,
    index, tokens before it): it is the same again up to rounding, which in vLLM depends on the batch, and differs from
    what the same seed draws step by step. Use it within one event loop.
    """

    def __init__(self, engine: Any, tokenizer: Any, *, prompt: Callable[[Problem], list[int]] | None = None) -> None:
        """`engine` is an `AsyncLLM`; `prompt` gives the ids before the first step."""
        self.engine = engine
        self.tokenizer = tokenizer
        self.prompt = prompt or partial(plain_prompt, tokenizer)

    @classmethod
    def load(
        cls, path: str | PathLike[str], *, prompt: Callable[[Problem], list[int]] | None = None, **options: Any
    ) -> "VllmPolicy":
        """Reads a model directory; `options` are vLLM's engine arguments (dtype, max_num_seqs, ...). Raises InputError
        where the directory is missing or vLLM cannot use it."""
        if not Path(path).is_dir():
            raise InputError(
                "there is no such model directory", path=path, remedy="give a Hugging Face model directory"
            )
        if current_platform.is_cpu():
            # vLLM 0.32 on a CPU dies of a seeded request whose prompt it reads in parts: its generator has no offset
            options.setdefault("enable_chunked_prefill", False)
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
            engine = AsyncLLM.from_engine_args(AsyncEngineArgs(model=str(path), **options))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"vLLM cannot use this: {error}", path=path) from error
        return cls(engine, tokenizer, prompt=prompt)

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """See `Policy.sample`. A cancelled call frees its rows. Raises InputError for what vLLM refuses and for a
        solution that has ended, BackendError where the engine failed."""
        check_request(n, sampling)
        if prefix.token_ids and prefix.token_ids[-1] == self.tokenizer.eos_token_id:
            raise InputError(f"the solution of problem {prefix.problem.id} has ended; there is nothing to continue")
        prompt = encode(self.tokenizer, self.prompt(prefix.problem), prefix)
        return await side_by_side(partial(self._one, prompt, sampling), sampling.first, n)

    async def _one(self, prompt_T: list[int], sampling: Sampling, index: int) -> Completion:
        async def ask(ids_T: list[int], limit: int) -> Completion:
            params = SamplingParams(
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                max_tokens=limit,
                seed=seed_at(sampling.seed, index, len(ids_T)),
                stop=[SEPARATOR] if sampling.stop == "step" else None,
                logprobs=0,
                output_kind=RequestOutputKind.FINAL_ONLY,
            )
            return _completion(await self._answer(ids_T, params))

        return await past_blank_lines(ask, prompt_T, sampling.max_tokens)

    async def _answer(self, ids_T: list[int], params: SamplingParams) -> Any:
        prompt = {"prompt_token_ids": ids_T}
        try:
            answers = [answer async for answer in self.engine.generate(prompt, params, uuid.uuid4().hex)]
        except (EngineDeadError, EngineGenerateError) as error:
            raise BackendError(f"vLLM failed: {error}") from error
        except ValueError as error:
            raise InputError(f"vLLM refuses the request: {error}") from error
        if not answers:
            raise BackendError("vLLM ended a request without an answer")
        return answers[-1]

    def close(self) -> None:
        """Stops the engine."""
        self.engine.shutdown()


def _completion(answer: Any) -> Completion:
    (written,) = answer.outputs
    finish = written.finish_reason
    if finish not in ("stop", "length", "abort"):
        raise BackendError(f"vLLM ended a sample for a reason that is not known here: {finish!r}")
    if finish == "stop" and written.stop_reason == SEPARATOR:
        finish = "step"
    ids = tuple(written.token_ids)
    logprobs = tuple(table[token].logprob for token, table in zip(ids, written.logprobs, strict=True))
    cached = answer.num_cached_tokens or 0
    cost = Cost(len(answer.prompt_token_ids) - cached, cached, len(ids), requests=1)
    return Completion(split(written.text), ids, logprobs, finish, cost)
