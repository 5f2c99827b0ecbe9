"""The tensors that hold keys and values: a pool for the prefix tree, blocks and trunks for the running samples.

Axes: layer, 2 (keys, values), then places, blocks or trunks; width is kv heads * D. Blocks and trunks keep each head's
tokens together, as attention multiplies them. Padding is masked, so its values must be finite: all tensors start as
zeros, which on a CPU take no memory before they are written.
"""

import math
import mmap

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from stepmark.engine.decoder import Decoder
from stepmark.engine.tree import Places

Ints = npt.NDArray[np.int64]

BLOCK = 16
"""tokens of a block; the lengths of trunks are multiples of it too"""
HOLES = 8
"""of this many blocks one may be out of use: moving blocks costs more than computing some in vain"""


def blocks_of(tokens: int) -> int:
    return -(-tokens // BLOCK)


def _zeros(decoder: Decoder, *shape: int) -> Tensor:
    shape = (len(decoder.layers), 2, *shape)
    if decoder.device.type != "cpu" or not math.prod(shape):
        return torch.zeros(shape, dtype=decoder.dtype, device=decoder.device)
    memory = mmap.mmap(-1, math.prod(shape) * decoder.embedding.element_size(), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_HUGEPAGE"):  # writing to fresh small pages would cost more than the attention itself
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=decoder.dtype).view(shape)


class Pool:
    """Keys and values of single tokens, by place."""

    def __init__(self, decoder: Decoder, capacity: int) -> None:
        self.kv = _zeros(decoder, capacity, decoder.kv_heads * decoder.head_dim)

    def read(self, places: Places) -> Tensor:
        """[layers, 2, *places, width]"""
        index = torch.from_numpy(places.reshape(-1)).to(self.kv.device)
        found = self.kv.index_select(2, index)
        return found.view(*found.shape[:2], *places.shape, found.shape[3])

    def write(self, places: Places, kv: Tensor) -> None:
        """`kv` is [layers, 2, places, width]."""
        self.kv.index_copy_(2, torch.from_numpy(places).to(self.kv.device), kv)


class Blocks:
    """The tokens of single rows, in blocks. Attention reads blocks 0 to count-1 as one contiguous batch, whatever the
    rows' lengths. Few of them are not in use: new tokens go there first."""

    def __init__(self, decoder: Decoder, rows: int, capacity: int) -> None:
        self.kv = _zeros(decoder, capacity, decoder.kv_heads, BLOCK, decoder.head_dim)
        self.capacity = capacity
        self.count = 0
        self.holes: Ints = np.zeros(0, np.int64)
        """blocks below `count` that are not in use"""
        self.owner: Ints = np.zeros(capacity, np.int64)
        """the row of each block, -1 for a hole"""
        self.level: Ints = np.zeros(capacity, np.int64)
        """its number among the row's blocks"""
        self.table: Ints = np.zeros((rows, blocks_of(decoder.context)), np.int64)
        """the block of a row at a level"""

    def add(self, rows: Ints, levels: Ints) -> Ints:
        """New blocks for rows at levels."""
        fresh = max(len(rows) - len(self.holes), 0)
        blocks = np.concatenate([self.holes, np.arange(self.count, self.count + fresh)])[: len(rows)]
        self.holes = self.holes[len(rows) :]
        self.count += fresh
        self.owner[blocks], self.level[blocks] = rows, levels
        self.table[rows, levels] = blocks
        return blocks

    def fill(self, row: int, kv: Tensor) -> None:
        """Gives a row, which has no blocks yet, the tokens `kv` [layers, 2, tokens, width]."""
        need, (heads, _, size) = blocks_of(kv.shape[2]), self.kv.shape[3:]
        blocks = self.add(np.full(need, row), np.arange(need))
        kv = torch.nn.functional.pad(kv, (0, 0, 0, need * BLOCK - kv.shape[2]))
        kv = kv.view(*kv.shape[:2], need, BLOCK, heads, size).transpose(3, 4)
        self.kv.index_copy_(2, torch.from_numpy(blocks).to(kv.device), kv)

    def copy(self, rows: Ints, names: Ints, tokens: Ints) -> None:
        """Gives the rows `names`, which have no blocks yet, copies of the first tokens of `rows`."""
        counts = -(-tokens // BLOCK)
        level = np.concatenate([np.arange(count) for count in counts])
        source = self.table[np.repeat(rows, counts), level]
        self._move(source, self.add(np.repeat(names, counts), level))

    def places(self, rows: Ints, columns: Ints) -> Tensor:
        """Where single tokens of rows are, head by head, when blocks are read as flat [blocks * heads * BLOCK]."""
        heads = self.kv.shape[3]
        head = self.table[rows, columns // BLOCK][:, None] * heads + np.arange(heads)
        return torch.from_numpy((head * BLOCK + columns[:, None] % BLOCK).reshape(-1)).to(self.kv.device)

    def read(self, rows: Ints, columns: Ints) -> Tensor:
        """Keys and values [layers, 2, N, width] of single tokens."""
        found = self.kv.flatten(2, 4).index_select(2, self.places(rows, columns))
        return found.view(*found.shape[:2], len(rows), -1)

    def rename(self, gone: Ints, rows: Ints, names: Ints) -> None:
        """Frees the blocks of the rows that are `gone`; `rows` are called `names` from now on."""
        name = np.arange(len(self.table) + 1)
        name[-1] = -1
        name[gone] = -1
        name[rows] = names
        owner = self.owner[: self.count]
        owner[:] = name[owner]
        self.holes = np.flatnonzero(owner < 0)
        if len(self.holes) > self.count // HOLES:
            self._close_up()
        live = np.flatnonzero(self.owner[: self.count] >= 0)
        self.table[self.owner[live], self.level[live]] = live

    def _close_up(self) -> None:
        """The last blocks move into the holes."""
        left = self.count - len(self.holes)
        gaps = self.holes[self.holes < left]
        movers = left + np.flatnonzero(self.owner[left : self.count] >= 0)
        self._move(movers, gaps)
        self.owner[gaps], self.level[gaps] = self.owner[movers], self.level[movers]
        self.count, self.holes = left, self.holes[:0]

    def _move(self, blocks: Ints, to: Ints) -> None:
        source, target = (torch.from_numpy(x).to(self.kv.device) for x in (blocks, to))
        self.kv.index_copy_(2, target, self.kv.index_select(2, source))


class Trunks:
    """Prefixes that several rows share, each with room for `length` tokens; attention reads as many as the longest has.
    Trunks 0 to count-1 are in use, without gaps."""

    def __init__(self, decoder: Decoder, trunks: int, tokens: int) -> None:
        self._kv = _zeros(decoder, tokens, decoder.kv_heads, decoder.head_dim)
        self.tokens = tokens
        self.count = 0
        self.length = 0
        """of the room of every trunk"""
        self.lengths: Ints = np.zeros(trunks, np.int64)
        self.rows: Ints = np.zeros(trunks, np.int64)
        """how many rows each still has"""

    @property
    def longest(self) -> int:
        """Tokens of the longest trunk, with its last block filled up."""
        return blocks_of(int(self.lengths[: self.count].max(initial=0))) * BLOCK

    @property
    def kv(self) -> Tensor:
        """[layers, 2, trunks, kv heads, tokens, D]"""
        layers, two, _, heads, size = self._kv.shape
        used = self._kv[:, :, : self.count * self.length]
        return used.view(layers, two, self.count, heads, self.length, size)

    def fits(self, length: int) -> bool:
        """Whether one more trunk of `length` fits."""
        longest = max(blocks_of(length) * BLOCK, self.longest)
        return self.count < len(self.lengths) and (self.count + 1) * longest <= self.tokens

    def add(self, kv: Tensor) -> int:
        """A new trunk of tokens `kv` [layers, 2, tokens, width], of one row."""
        trunk = self.count
        self.lengths[trunk], self.rows[trunk] = kv.shape[2], 1
        self._make_room()
        self.count += 1
        self.kv[:, :, trunk, :, : kv.shape[2]] = kv.view(*kv.shape[:3], *self._kv.shape[3:]).transpose(2, 3)
        return trunk

    def _make_room(self) -> None:
        """For the longest of the trunks and a new one: twice as much as last time where that fits, so that trunks that
        grow longer move the others seldom."""
        most = self.tokens // (self.count + 1)
        need = blocks_of(int(self.lengths[: self.count + 1].max())) * BLOCK
        if not need <= self.length <= most:
            roomy = 1 << (need - 1).bit_length()
            length = roomy if roomy <= most else need
            kept = min(length, self.length)
            old = self.kv[..., :kept, :].clone()
            self.length = length
            self.kv[..., :kept, :] = old

    def share(self, trunk_N: Ints) -> None:
        """One more row for each."""
        np.add.at(self.rows, trunk_N, 1)

    def leave(self, trunk_N: Ints) -> Ints:
        """Rows leave their trunks; returns the new name of each trunk."""
        np.subtract.at(self.rows, trunk_N, 1)
        name = np.arange(len(self.lengths))
        live = np.flatnonzero(self.rows[: self.count])
        if len(live) < self.count:
            gaps = np.flatnonzero(self.rows[: len(live)] == 0)
            movers = live[len(live) - len(gaps) :]
            for gap, mover in zip(gaps, movers, strict=True):  # all at once would move whole rooms, by fresh memory
                length = self.lengths[mover]
                self.kv[:, :, gap, :, :length] = self.kv[:, :, mover, :, :length]
            self.lengths[gaps], self.rows[gaps] = self.lengths[movers], self.rows[movers]
            name[movers] = gaps
            self.count = len(live)
        return name
