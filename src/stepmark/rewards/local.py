"""A reward model in this process, on the engine."""

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Self

import numpy as np
import torch

from stepmark.engine.decoder import Decoder
from stepmark.engine.engine import Engine
from stepmark.precision import Dtype, device, resolve
from stepmark.rewards.base import checked
from stepmark.rewards.examples import Encoded, Encoder, SolutionEncoder
from stepmark.rewards.model import RewardNet, Spec, load
from stepmark.types import Cost, Prefix, StepScores

KNOWN = 1 << 18
"""steps whose scores are remembered, the least recently used forgotten first: some 40 MB"""


class LocalReward:
    """Scores solutions in one causal pass, each step read at the token at which it was trained.

    The engine keeps the keys and values of what it has read, and this the scores, so that scoring a solution that
    extends a scored one costs its new steps alone, and so does scoring both at once. Whatever is awaited at the same
    time shares each forward pass. In float32 a solution's scores do not depend on its company, nor on what was known,
    beyond 1e-5; in bfloat16 scores differ from float32 by some .001, rarely by .03.

    The cost counts as `scored` what was computed, as `cached` what was known.
    """

    def __init__(self, net: RewardNet, encoder: SolutionEncoder, spec: Spec | None, *, memory: int = 1 << 30) -> None:
        """`spec`: None for another's model (`stepmark.rewards.families`). `memory`: the limit of the key/value cache in
        bytes. Raises InputError for an architecture that the engine does not know."""
        self.spec = spec
        self.engine = Engine(Decoder(net.lm.base_model), readout=partial(_judge, net), memory=memory)
        self._encoder = encoder
        self._known: OrderedDict[bytes, float] = OrderedDict()
        self._reading: dict[bytes, asyncio.Future[None]] = {}
        """steps that are being read, each with what tells that it is over"""

    @classmethod
    def load(cls, path: str | Path, *, dtype: Dtype = "float32", memory: int = 1 << 30) -> Self:
        """`dtype` "auto" is bfloat16 where that is fast. Raises `InputError` where the directory lacks its description,
        tokenizer or weights."""
        net, tokenizer, spec = load(path, resolve(dtype, torch.bfloat16, device()))
        return cls(net, Encoder(tokenizer, spec.layout), spec, memory=memory)

    async def score(self, prefix: Prefix) -> StepScores:
        """P(right) of each step. Raises `InputError` where the prefix has no steps or does not fit into the model,
        `ScoreError` where a score is not a number, `BackendError` where the model failed or is closed."""
        self.engine.check()
        encoded = self._encoder.encode(prefix.problem, prefix.steps)
        keys = _keys(encoded)
        scores = await self._remembered(keys)
        if len(scores) == len(keys):
            return checked(prefix, scores, Cost(cached=len(encoded.ids_T)))
        new, over = keys[len(scores) :], asyncio.get_running_loop().create_future()
        self._reading.update(dict.fromkeys(new, over))
        try:
            reading = await self.engine.read(encoded.ids_T, encoded.judged_S[len(scores) :])
            found = checked(prefix, [*scores, *reading.values.tolist()], reading.cost)
            self._known.update(zip(keys, found.scores, strict=True))
        finally:
            for key in new:
                del self._reading[key]
            over.set_result(None)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return found

    async def _remembered(self, keys: list[bytes]) -> list[float]:
        """The scores of the first steps, as far as they are known once nobody reads a step of `keys`: what two
        solutions share is read once, for both."""
        while True:
            scores: list[float] = []
            for key in keys:
                if key not in self._known:
                    break
                self._known.move_to_end(key)
                scores.append(self._known[key])
            reader = next((self._reading[key] for key in keys[len(scores) :] if key in self._reading), None)
            if reader is None:
                return scores
            await asyncio.wait([reader])

    def close(self) -> None:
        """Stops the engine and frees its memory. Every request that waits, and every later one, raises
        `BackendError`."""
        self.engine.close()


def _judge(net: RewardNet, hidden_K_D: torch.Tensor) -> torch.Tensor:
    return net.score(net.head(hidden_K_D.float())).cpu()


def _keys(encoded: Encoded) -> list[bytes]:
    """One for each step: a digest of all tokens up to where it is judged."""
    digest, start, keys = hashlib.blake2b(digest_size=16), 0, []
    for judged in encoded.judged_S:
        digest.update(np.array(encoded.ids_T[start : judged + 1], np.int64).tobytes())
        keys.append(digest.digest())
        start = judged + 1
    return keys
