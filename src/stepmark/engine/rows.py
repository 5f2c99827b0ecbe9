"""The running samples: one row each, kept without gaps."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepmark.engine.attention import StepAttention
from stepmark.engine.cache import BLOCK, Blocks, Ints, Trunks, blocks_of
from stepmark.engine.decoder import Decoder
from stepmark.engine.draw import choose, keys, uniforms
from stepmark.types import Finish, Sampling

SHARERS = (4, 32)
"""the rows of a trunk: fewer copy the prefix into their own blocks, more take a second trunk"""

FINISHES: tuple[Finish | None, ...] = (None, "stop", "step", "length")
STOP = FINISHES.index("stop")


@dataclass(frozen=True)
class Stops:
    """What ends a sample, by token id (booleans [vocabulary])."""

    ends: npt.NDArray[np.bool_]
    """the solution ends"""
    newline: npt.NDArray[np.bool_]
    """the step ends, once it has a token that is not blank"""
    blank: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Finished:
    """A row that has left the batch."""

    owner: Any
    index: int
    token_ids: list[int]
    logprobs: list[float]
    finish: Finish


class Rows:
    """Row r of every array belongs to one sample; rows 0 to count-1 run."""

    def __init__(self, decoder: Decoder, head: Tensor, stops: Stops, *, rows: int, tokens: int) -> None:
        """Keys and values of `tokens` tokens are held: two thirds in the rows' own blocks, one third in trunks."""
        self.decoder, self.head, self.stops = decoder, head, stops
        self.blocks = Blocks(decoder, rows, tokens * 2 // 3 // BLOCK)
        self.trunks = Trunks(decoder, rows // SHARERS[0], tokens // 3)
        self.capacity = rows
        self.count = 0
        self.owner = np.full(rows, None, object)
        self.index = np.zeros(rows, np.int64)
        self.key = np.zeros(rows, np.uint64)
        self.position = np.zeros(rows, np.int64)
        """of the token that is fed next"""
        self.own = np.zeros(rows, np.int64)
        """its place among the row's own tokens"""
        self.trunk = np.full(rows, -1, np.int64)
        self.limit = np.zeros(rows, np.int64)
        self.need = np.zeros(rows, np.int64)
        """blocks that the row may come to hold"""
        self.temperature = np.ones(rows, np.float32)
        self.top_p = np.ones(rows, np.float32)
        self.top_k = np.zeros(rows, np.int64)
        self.by_step = np.zeros(rows, bool)
        self.content = np.zeros(rows, bool)
        self.generated = np.zeros(rows, np.int64)
        self.tokens = np.zeros((rows, 0), np.int64)
        self.logprobs = np.zeros((rows, 0), np.float32)
        self.finish = np.zeros(rows, np.int8)
        """index into FINISHES"""
        self._first: list[Tensor] = []

    def portion(self, wanted: int, length: int, limit: int) -> int:
        """How many of `wanted` samples of a prefix of `length`, up to `limit` new tokens each, join at a time: at most
        what an empty batch holds. 0 when it cannot hold even one."""
        sharers = min(wanted, SHARERS[1], self.capacity, self.blocks.capacity // blocks_of(limit))
        if sharers >= SHARERS[0] and blocks_of(length) * BLOCK <= self.trunks.tokens:
            return sharers
        return min(wanted, SHARERS[0] - 1, self.capacity, self.blocks.capacity // blocks_of(length + limit))

    def room(self, portion: int, length: int, limit: int) -> bool:
        """Whether that portion can join now, and grow to its limit."""
        if portion >= SHARERS[0]:
            if not self.trunks.fits(length):
                return False
            length = 0
        reserved = int(self.need[: self.count].sum()) + portion * blocks_of(length + limit)
        return self.count + portion <= self.capacity and reserved <= self.blocks.capacity

    def join(
        self,
        owner: Any,
        indices: Ints,
        *,
        prefix: Tensor,
        logits: Tensor,
        sampling: Sampling,
        limit: int,
    ) -> None:
        """Samples of one prefix join, its keys and values `prefix` [layers, 2, length, width] with them; `draw_first`
        will draw their first tokens from `logits` [vocabulary]. `room` must have said yes."""
        count, length = len(indices), prefix.shape[2]
        rows = slice(self.count, self.count + count)
        if count >= SHARERS[0]:
            own, self.trunk[rows] = 0, self.trunks.add(prefix, count)
        else:
            own, self.trunk[rows] = length, -1
            self.blocks.fill(np.arange(rows.start, rows.stop), prefix)
        self.owner[rows] = owner
        self.index[rows], self.key[rows] = indices, keys(sampling.seed, indices)
        self.position[rows], self.own[rows] = length, own
        self.limit[rows], self.need[rows] = limit, blocks_of(own + limit)
        self.temperature[rows], self.top_p[rows] = sampling.temperature, sampling.top_p
        self.top_k[rows] = sampling.top_k
        self.by_step[rows], self.content[rows] = sampling.stop == "step", False
        self.generated[rows], self.finish[rows] = 0, 0
        if self.tokens.shape[1] < limit:
            self.tokens = np.pad(self.tokens, ((0, 0), (0, limit - self.tokens.shape[1])))
            self.logprobs = np.pad(self.logprobs, ((0, 0), (0, limit - self.logprobs.shape[1])))
        self.count += count
        self._first.append(logits.expand(count, -1))

    def draw_first(self) -> None:
        """Draws the first tokens of the rows that have joined."""
        if self._first:
            logits = torch.cat(self._first)
            self._first.clear()
            self._draw(slice(self.count - len(logits), self.count), logits)

    def step(self) -> None:
        """Feeds every row's last token and draws its next one. Finished rows must have been taken out."""
        rows = slice(0, self.count)
        full = np.flatnonzero(self.own[rows] % BLOCK == 0)
        self.blocks.add(full, self.own[full] // BLOCK)
        attention = StepAttention(
            *(self.decoder, self.blocks, self.trunks),
            position_N=self.position[rows],
            own_N=self.own[rows],
            trunk_N=self.trunk[rows],
        )
        last = self.tokens[np.arange(self.count), self.generated[rows] - 1]
        device = self.decoder.device
        ids, positions = torch.from_numpy(last).to(device), torch.from_numpy(self.position[rows]).to(device)
        hidden = self.decoder.forward(ids, positions, attention)
        self.position[rows] += 1
        self.own[rows] += 1
        self._draw(rows, torch.nn.functional.linear(hidden, self.head))

    def _draw(self, rows: slice, logits: Tensor) -> None:
        device = logits.device
        token, logprob = choose(
            logits.float(),
            torch.from_numpy(uniforms(self.key[rows], self.position[rows])).to(device),
            torch.from_numpy(self.temperature[rows]).to(device),
            torch.from_numpy(self.top_p[rows]).to(device),
            torch.from_numpy(self.top_k[rows]).to(device),
        )
        ids, place = token.cpu().numpy(), np.arange(rows.start, rows.stop)
        self.tokens[place, self.generated[rows]] = ids
        self.logprobs[place, self.generated[rows]] = logprob.cpu().numpy()
        self.generated[rows] += 1
        self.content[rows] |= ~self.stops.blank[ids]
        step = self.by_step[rows] & self.stops.newline[ids] & self.content[rows]
        full = self.generated[rows] >= self.limit[rows]
        self.finish[rows] = np.select([self.stops.ends[ids], step, full], [1, 2, 3], 0)

    def ended(self) -> Ints:
        """The rows that have finished."""
        return np.flatnonzero(self.finish[: self.count])

    def result(self, row: int) -> Finished:
        """What a finished row wrote."""
        count, finish = int(self.generated[row]), FINISHES[self.finish[row]]
        assert finish is not None
        return Finished(
            self.owner[row],
            int(self.index[row]),
            self.tokens[row, :count].tolist(),
            self.logprobs[row, :count].tolist(),
            finish,
        )

    def leave(self, gone: Ints) -> None:
        """Takes rows out; the last rows move into the gaps."""
        left = self.count - len(gone)
        gaps = gone[gone < left]
        movers = np.setdiff1d(np.arange(left, self.count), gone, assume_unique=True)
        trunks = self.trunk[: self.count]
        renamed = self.trunks.leave(trunks[gone][trunks[gone] >= 0])
        trunks[trunks >= 0] = renamed[trunks[trunks >= 0]]
        self.blocks.rename(gone, movers, gaps)
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array[gaps] = array[movers]
        self.owner[left : self.count] = None
        self.count = left
