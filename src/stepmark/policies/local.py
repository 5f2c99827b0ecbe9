"""Any Hugging Face causal language model of a family that the engine knows, in process."""

from collections.abc import Callable
from functools import lru_cache, partial
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
from transformers import AutoModelForCausalLM, AutoTokenizer

from stepmark.engine.decoder import Decoder
from stepmark.engine.engine import Drawn, Engine
from stepmark.engine.samples import Stops
from stepmark.errors import InputError
from stepmark.policies.base import check_request
from stepmark.policies.tokens import encode, plain_prompt
from stepmark.precision import Dtype, device, resolve, room
from stepmark.steps import SEPARATOR, split
from stepmark.types import Completion, Prefix, Problem, Sampling

Prompt = Callable[[Problem], list[int]]
"""the token ids before the first step"""
PROMPTS = 4096
"""that are kept: a search asks about each problem many times"""


class LocalPolicy:
    """Samples from a causal language model through the engine.

    The sequence is the prompt, then the steps' ids, each step closed by a newline, then the end token. The prompt is
    the begin token, if the tokenizer has one, and the question closed by a newline; `prompt` replaces it, for a chat
    template say. Ids that the policy wrote are used as they are; steps that came as text are encoded one by one, never
    together with their neighbours. A step ends with the first token whose text contains a newline, blank lines
    skipped; a solution ends with an end token of the tokenizer or of the generation settings.

    Not covered: tokenizers that mark the start of a text (SentencePiece's leading space) read each step as a new text.
    """

    def __init__(
        self, model: Any, tokenizer: Any, *, prompt: Prompt | None = None, rows: int = 1024, memory: int = 4 << 30
    ) -> None:
        """`rows` samples run at once at most; `memory` is the limit of the key/value cache in bytes (see Engine)."""
        self.tokenizer = tokenizer
        self.prompt: Prompt = lru_cache(PROMPTS)(prompt or partial(plain_prompt, tokenizer))
        head = model.get_output_embeddings()
        if getattr(head, "bias", None) is not None:
            raise InputError("a language model head with a bias is not covered")
        weight = head.weight.detach()
        self.stops = _stops(model, tokenizer, len(weight))
        self.engine = Engine(Decoder(model.get_decoder()), weight, self.stops, rows=rows, memory=memory)

    @classmethod
    def load(
        cls,
        path: str | PathLike[str],
        *,
        dtype: Dtype = "auto",
        prompt: Prompt | None = None,
        rows: int | None = None,
        memory: int | None = None,
    ) -> "LocalPolicy":
        """Reads a model directory, onto the GPU where there is one; `room` gives rows and memory by default. Raises
        InputError when it has no model or no tokenizer, or an architecture that the engine does not know."""
        if not Path(path).is_dir():
            raise InputError(
                "there is no such model directory", path=path, remedy="give a Hugging Face model directory"
            )
        try:
            tokenizer = AutoTokenizer.from_pretrained(path)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(
                f"no tokenizer can be read: {error}", path=path, remedy="save it beside the model"
            ) from error
        try:
            model: Any = AutoModelForCausalLM.from_pretrained(path, dtype="auto")
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"no causal language model can be read: {error}", path=path) from error
        model.to(device(), resolve(dtype, model.dtype, device()))
        most_rows, most_memory = room(device())
        return cls(model, tokenizer, prompt=prompt, rows=rows or most_rows, memory=memory or most_memory)

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """See `Policy.sample`. `finish` is `length` at `max_tokens` and at the end of the model's context. A cancelled
        call ends in CancelledError and frees its rows: no completion is ever `abort`."""
        check_request(n, sampling)
        return [self._completion(drawn) for drawn in await self.engine.sample(self.encode(prefix), n, sampling)]

    def encode(self, prefix: Prefix) -> list[int]:
        """The token ids of the prompt and the steps."""
        if prefix.token_ids and self.stops.ends[prefix.token_ids[-1]]:
            raise InputError(f"the solution of problem {prefix.problem.id} has ended; there is nothing to continue")
        return encode(self.tokenizer, self.prompt(prefix.problem), prefix)

    def close(self) -> None:
        """Stops the engine and frees its memory; callers that still wait, and later ones, get a BackendError."""
        self.engine.close()

    def _completion(self, drawn: Drawn) -> Completion:
        text = self.tokenizer.decode(drawn.token_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return Completion(split(text), drawn.token_ids, drawn.logprobs, drawn.finish, drawn.cost)


def _stops(model: Any, tokenizer: Any, vocabulary: int) -> Stops:
    """Which tokens end a solution, which hold a newline, which are blank."""
    ends = np.zeros(vocabulary, bool)
    configured = model.generation_config.eos_token_id if model.generation_config is not None else None
    ends[[i for i in _as_list(configured) + _as_list(tokenizer.eos_token_id) if i < vocabulary]] = True
    if not ends.any():
        raise InputError("the tokenizer has no end token, so no solution would ever end", remedy="set eos_token")
    texts = tokenizer.batch_decode(
        [[i] for i in range(min(len(tokenizer), vocabulary))], clean_up_tokenization_spaces=False
    )
    newline, blank = np.zeros(vocabulary, bool), np.zeros(vocabulary, bool)
    newline[: len(texts)] = [SEPARATOR in text for text in texts]
    blank[: len(texts)] = [not text.strip() for text in texts]
    if not newline.any():
        raise InputError("no token of the tokenizer contains a newline, so no step would ever end")
    return Stops(ends, newline, blank)


def _as_list(ids: int | list[int] | None) -> list[int]:
    return [] if ids is None else [ids] if isinstance(ids, int) else list(ids)
