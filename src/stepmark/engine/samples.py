"""The running samples, each with its own settings and randomness, on the rows that are computed."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepmark.engine.cache import BLOCK, Ints, blocks_of
from stepmark.engine.draw import choose, keys, uniforms
from stepmark.engine.rows import Rows
from stepmark.types import Finish, Sampling

SHARERS = (4, 64)
"""the samples of a trunk: fewer copy the prefix into their own blocks, more take a second trunk"""

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
    """A sample that has left the batch."""

    owner: Any
    index: int
    token_ids: list[int]
    logprobs: list[float]
    finish: Finish


class Samples:
    """Element s of every array belongs to one sample; samples 0 to count-1 run."""

    def __init__(self, rows: Rows, stops: Stops, *, capacity: int) -> None:
        """At most `capacity` at once, as many as `rows` has rows: they may all come to write different texts."""
        self.rows, self.stops, self.capacity = rows, stops, capacity
        self.count = 0
        self.owner = np.full(capacity, None, object)
        self.row = np.zeros(capacity, np.int64)
        """where its text is computed"""
        self.index = np.zeros(capacity, np.int64)
        self.key = np.zeros(capacity, np.uint64)
        self.limit = np.zeros(capacity, np.int64)
        self.need = np.zeros(capacity, np.int64)
        """blocks that it may come to hold in a row of its own"""
        self.temperature = np.ones(capacity, np.float32)
        self.top_p = np.ones(capacity, np.float32)
        self.top_k = np.zeros(capacity, np.int64)
        self.by_step = np.zeros(capacity, bool)
        self.content = np.zeros(capacity, bool)
        self.generated = np.zeros(capacity, np.int64)
        self.tokens = np.zeros((capacity, 0), np.int64)
        self.logprobs = np.zeros((capacity, 0), np.float32)
        self.finish = np.zeros(capacity, np.int8)
        """index into FINISHES"""
        self._first: list[Tensor] = []

    def portion(self, wanted: int, length: int, limit: int) -> int:
        """How many of `wanted` samples of a prefix of `length`, up to `limit` new tokens each, join at a time: at most
        what an empty batch holds. 0 when it cannot hold even one."""
        most, trunks = self.rows.blocks.capacity, self.rows.trunks.tokens
        sharers = min(wanted, SHARERS[1], self.capacity, most // blocks_of(limit))
        if sharers >= SHARERS[0] and blocks_of(length) * BLOCK <= trunks:
            return sharers
        return min(wanted, SHARERS[0] - 1, self.capacity, most // blocks_of(length + limit))

    def room(self, portion: int, length: int, limit: int) -> bool:
        """Whether that portion can join now, and grow to its limit."""
        if portion >= SHARERS[0]:
            if not self.rows.trunks.fits(length):
                return False
            length = 0
        reserved = int(self.need[: self.count].sum()) + portion * blocks_of(length + limit)
        return self.count + portion <= self.capacity and reserved <= self.rows.blocks.capacity

    def join(
        self, owner: Any, indices: Ints, *, prefix: Tensor, logits: Tensor, sampling: Sampling, limit: int
    ) -> None:
        """Samples of one prefix join, its keys and values `prefix` [layers, 2, length, width] with them; `draw_first`
        will draw their first tokens from `logits` [vocabulary]. `room` must have said yes."""
        count, shared = len(indices), len(indices) >= SHARERS[0]
        new = slice(self.count, self.count + count)
        self.row[new] = self.rows.join(prefix, trunk=shared)
        self.owner[new] = owner
        self.index[new], self.key[new] = indices, keys(sampling.seed, indices)
        self.limit[new], self.need[new] = limit, blocks_of(limit + (0 if shared else prefix.shape[2]))
        self.temperature[new], self.top_p[new] = sampling.temperature, sampling.top_p
        self.top_k[new] = sampling.top_k
        self.by_step[new], self.content[new] = sampling.stop == "step", False
        self.generated[new], self.finish[new] = 0, 0
        if self.tokens.shape[1] < limit:
            self.tokens = np.pad(self.tokens, ((0, 0), (0, limit - self.tokens.shape[1])))
            self.logprobs = np.pad(self.logprobs, ((0, 0), (0, limit - self.logprobs.shape[1])))
        self.count += count
        self._first.append(logits)

    def draw_first(self) -> None:
        """Draws the first tokens of the samples that have joined."""
        if self._first:
            logits_R_V = torch.stack(self._first)
            self._first.clear()
            self._draw(logits_R_V, self.rows.count - len(logits_R_V))

    def step(self) -> None:
        """Feeds every sample's last token and draws its next one. Finished samples must have been taken out."""
        ids_R = self._branch()
        self._draw(self.rows.step(ids_R), 0)

    def _branch(self) -> Ints:
        """Gives samples that drew different tokens rows of their own; the last token of each row."""
        row_N = self.row[: self.count]
        last_N = self.tokens[np.arange(self.count), self.generated[: self.count] - 1]
        texts, place_N = np.unique(row_N * len(self.stops.ends) + last_N, return_inverse=True)
        row_T, id_T = np.divmod(texts, len(self.stops.ends))
        new = np.flatnonzero(row_T[1:] == row_T[:-1]) + 1  # the first text of each row keeps the row
        if len(new):
            row_T[new] = self.rows.branch(row_T[new])
        row_N[:] = row_T[place_N]
        ids_R = np.empty(len(row_T), np.int64)
        ids_R[row_T] = id_T
        return ids_R

    def _draw(self, logits_R_V: Tensor, first: int) -> None:
        """Draws the next token of the samples of rows from `first` on; they are the last samples."""
        place = np.arange(self.count)[self.row[: self.count] >= first]
        row_N = self.row[place]
        of_R = np.empty(len(logits_R_V), np.int64)
        of_R[row_N - first] = place  # one sample of each row: all of a row are of one request
        device = logits_R_V.device
        token, logprob = choose(
            logits_R_V.float(),
            torch.from_numpy(row_N - first).to(device),
            torch.from_numpy(uniforms(self.key[place], self.rows.position[row_N])).to(device),
            temperature_R=torch.from_numpy(self.temperature[of_R]).to(device),
            top_p_R=torch.from_numpy(self.top_p[of_R]).to(device),
            top_k_R=torch.from_numpy(self.top_k[of_R]).to(device),
        )
        ids = token.cpu().numpy()
        self.tokens[place, self.generated[place]] = ids
        self.logprobs[place, self.generated[place]] = logprob.cpu().numpy()
        self.generated[place] += 1
        self.content[place] |= ~self.stops.blank[ids]
        step = self.by_step[place] & self.stops.newline[ids] & self.content[place]
        full = self.generated[place] >= self.limit[place]
        self.finish[place] = np.select([self.stops.ends[ids], step, full], [1, 2, 3], 0)

    def ended(self) -> Ints:
        """The samples that have finished."""
        return np.flatnonzero(self.finish[: self.count])

    def result(self, sample: int) -> Finished:
        """What a finished sample wrote."""
        count, finish = int(self.generated[sample]), FINISHES[self.finish[sample]]
        assert finish is not None
        return Finished(
            self.owner[sample],
            int(self.index[sample]),
            self.tokens[sample, :count].tolist(),
            self.logprobs[sample, :count].tolist(),
            finish,
        )

    def leave(self, gone: Ints) -> None:
        """Takes samples out, and rows that have none left; the last samples move into the gaps."""
        left = self.count - len(gone)
        gaps = gone[gone < left]
        movers = np.setdiff1d(np.arange(left, self.count), gone, assume_unique=True)
        for array in vars(self).values():
            if isinstance(array, np.ndarray):
                array[gaps] = array[movers]
        self.owner[left : self.count] = None
        self.count = left
        empty = np.setdiff1d(np.arange(self.rows.count), self.row[:left])
        if len(empty):
            self.row[:left] = self.rows.leave(empty)[self.row[:left]]
