"""A trained reward model in this process."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

import torch

from stepmark.errors import BackendError
from stepmark.rewards.base import checked
from stepmark.rewards.examples import Encoded, Encoder, SolutionEncoder
from stepmark.rewards.model import RewardNet, Spec, load
from stepmark.types import Cost, Prefix, StepScores

Dtype = Literal["float32", "bfloat16"]
DTYPES: dict[Dtype, torch.dtype] = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(slots=True)
class _Request:
    encoded: Encoded
    scores: asyncio.Future[list[float]]


class LocalReward:
    """Scores solutions with a model that `stepmark.rewards.train` wrote: one causal pass per solution, each step's
    score read at the token at which it was trained.

    Whatever is awaited at the same time is scored in common batches, of solutions of similar length, in one worker
    thread. In float32 a solution's scores do not depend on its company beyond 1e-5; in bfloat16, about twice as fast,
    scores differ from float32 by some .001, rarely by .03.

    The cost is the solution's tokens; padding is not counted.
    """

    def __init__(
        self, net: RewardNet, encoder: SolutionEncoder, spec: Spec | None, *, batch_tokens: int = 4096
    ) -> None:
        """`spec`: None for another's model (`stepmark.rewards.families`). `batch_tokens`: tokens of a batch with its
        padding; some thousands keep a CPU's caches warm."""
        self.spec = spec
        self._net = net
        self._encoder = encoder
        self._batch_tokens = batch_tokens
        self._waiting: list[_Request] = []
        self._rounds: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = ThreadPoolExecutor(1, thread_name_prefix="reward")

    @classmethod
    def load(cls, path: str | Path, *, dtype: Dtype = "float32", batch_tokens: int = 4096) -> Self:
        """Raises `InputError` where the directory lacks its description, tokenizer or weights."""
        net, tokenizer, spec = load(path, DTYPES[dtype])
        return cls(net, Encoder(tokenizer, spec.layout), spec, batch_tokens=batch_tokens)

    async def score(self, prefix: Prefix) -> StepScores:
        """P(right) of each step. Raises `InputError` where the prefix has no steps or does not fit into the model,
        `ScoreError` where a score is not a number, `BackendError` where the model failed or is closed."""
        if self._thread is None:
            raise BackendError("the reward model is closed")
        encoded = self._encoder.encode(prefix.problem, prefix.steps)
        request = _Request(encoded, asyncio.get_running_loop().create_future())
        self._waiting.append(request)
        if self._rounds is None or self._rounds.done():
            self._rounds = asyncio.create_task(self._run_rounds())
        return checked(prefix, await request.scores, Cost(scored=len(encoded.ids_T), requests=1))

    def close(self) -> None:
        """Ends the worker thread. Every request that waits, and every later one, raises `BackendError`."""
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False)

    async def _run_rounds(self) -> None:
        """Each round takes all that waits; more requests arrive while it runs."""
        taken: list[_Request] = []
        try:
            while self._waiting:
                taken, self._waiting = self._waiting, []
                taken.sort(key=lambda request: len(request.encoded.ids_T))
                for batch in self._batches(taken):
                    await self._run_batch(batch)
        finally:  # the event loop is closing: nobody else will answer these
            for request in (*taken, *self._waiting):
                request.scores.cancel()
            self._waiting = []

    async def _run_batch(self, batch: list[_Request]) -> None:
        batch = [request for request in batch if not request.scores.done()]  # some were cancelled
        try:
            if self._thread is None:
                raise BackendError("the reward model was closed")
            loop = asyncio.get_running_loop()
            results = await loop.run_in_executor(self._thread, self._net.judge, [r.encoded for r in batch])
            for request, scores in zip(batch, results, strict=True):
                if not request.scores.done():
                    request.scores.set_result(scores)
        except Exception as error:
            for request in batch:
                if not request.scores.done():
                    failure = BackendError(f"the reward model failed: {error}")
                    failure.__cause__ = error
                    request.scores.set_exception(failure)

    def _batches(self, requests: list[_Request]) -> list[list[_Request]]:
        """Cuts requests sorted by length, shortest first, into batches of at most `batch_tokens` with their padding."""
        batches: list[list[_Request]] = []
        for request in requests:
            length = len(request.encoded.ids_T)
            if not batches or (len(batches[-1]) + 1) * length > self._batch_tokens:
                batches.append([])
            batches[-1].append(request)
        return batches
