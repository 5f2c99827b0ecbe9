"""A reward model in this process, on the engine."""

import asyncio
import hashlib
from collections import OrderedDict
from functools import partial
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Self

import numpy as np
import torch

from stepmark.engine.decoder import Decoder
from stepmark.engine.engine import Engine
from stepmark.precision import Dtype, device, resolve
from stepmark.rewards.base import checked
from stepmark.rewards.examples import Encoded, Encoder, SolutionEncoder
from stepmark.rewards.model import Likelihood, RewardNet, Spec, load, probability, squashed
from stepmark.types import Cost, Prefix, StepScores

MEMORY = 1 << 30
"""bytes of keys and values"""
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

    def __init__(self, net: RewardNet, encoder: SolutionEncoder, spec: Spec | None, *, memory: int = MEMORY) -> None:
        """`spec`: None for another's model (`stepmark.rewards.families`). `memory`: the limit of the key/value cache in
        bytes. Raises InputError for an architecture that the engine does not know."""
        self.spec = spec
        self.engine = Engine(Decoder(net.lm.base_model), readout=partial(_judge, net), memory=memory)
        self._kind = net.kind
        self._surprise = net.head.weight.item() if isinstance(net.head, Likelihood) else None
        """the weight of the least margin (head `likelihood`)"""
        self._encoder = encoder
        self._known: OrderedDict[bytes, tuple[float, float]] = OrderedDict()
        """of a step its score, and the least margin of its tokens, or of all so far (head `likelihood`)"""
        self._reading: dict[bytes, asyncio.Future[None]] = {}
        """steps that are being read, each with what tells that it is over"""

    @classmethod
    def load(cls, path: str | Path, *, dtype: Dtype = "float32", memory: int = MEMORY) -> Self:
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
        known = await self._remembered(keys)
        if len(known) == len(keys):
            return checked(prefix, [score for score, _ in known], Cost(cached=len(encoded.ids_T)))
        new, over = keys[len(known) :], asyncio.get_running_loop().create_future()
        self._reading.update(dict.fromkeys(new, over))
        try:
            read, cost = await self._read(encoded, known)
            found = checked(prefix, [score for score, _ in known + read], cost)
            self._known.update(zip(keys, known + read, strict=True))
        finally:
            for key in new:
                del self._reading[key]
            over.set_result(None)
        while len(self._known) > KNOWN:
            self._known.popitem(last=False)
        return found

    async def _read(self, encoded: Encoded, known: list[tuple[float, float]]) -> tuple[list[tuple[float, float]], Cost]:
        """Score and least margin of each step after the known ones, and what reading them cost."""
        judged = encoded.judged_S[len(known) :]
        if self._surprise is None:
            reading = await self.engine.read(encoded.ids_T, judged)
            return [(score, 0.0) for score in reading.values.tolist()], reading.cost
        first = encoded.judged_S[len(known) - 1] if known else encoded.start - 1
        reading = await self.engine.read(encoded.ids_T, range(first, judged[-1] + 1))
        logits_K, margins_K = reading.values.unbind(1)
        least = [margins_K[begin - first : end - first].min().item() for begin, end in pairwise((first, *judged))]
        if self._kind == "orm":
            least = list(accumulate([known[-1][1] if known else 0.0, *least], min))[1:]
        logits_S = logits_K[[end - first for end in judged]] + self._surprise * torch.tensor(least)
        return list(zip(squashed(logits_S[:, None], probability).tolist(), least, strict=True)), reading.cost

    async def _remembered(self, keys: list[bytes]) -> list[tuple[float, float]]:
        """What is known of the first steps, as far as it is known once nobody reads a step of `keys`: what two
        solutions share is read once, for both."""
        while True:
            known: list[tuple[float, float]] = []
            for key in keys:
                if key not in self._known:
                    break
                self._known.move_to_end(key)
                known.append(self._known[key])
            reader = next((self._reading[key] for key in keys[len(known) :] if key in self._reading), None)
            if reader is None:
                return known
            await asyncio.wait([reader])

    def close(self) -> None:
        """Stops the engine and frees its memory. Every request that waits, and every later one, raises
        `BackendError`."""
        self.engine.close()


def _judge(net: RewardNet, hidden_K_D: torch.Tensor, following_K: torch.Tensor) -> torch.Tensor:
    """Scores [K]; with the head `likelihood`, of which the score is not of one token alone, [K, 2]: its logit, and the
    margin of the token that follows."""
    head, hidden_K_D = net.head, hidden_K_D.float()
    if isinstance(head, Likelihood):
        return torch.stack([head(hidden_K_D)[:, 0], head.margins(hidden_K_D, following_K)], 1).detach().cpu()
    return net.score(head(hidden_K_D)).cpu()


def _keys(encoded: Encoded) -> list[bytes]:
    """One for each step: a digest of all tokens up to where it is judged."""
    digest, start, keys = hashlib.blake2b(digest_size=16), 0, []
    for judged in encoded.judged_S:
        digest.update(np.array(encoded.ids_T[start : judged + 1], np.int64).tobytes())
        keys.append(digest.digest())
        start = judged + 1
    return keys
