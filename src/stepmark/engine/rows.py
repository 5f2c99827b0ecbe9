"""The batch that is computed: a row for each distinct text, kept without gaps."""

import numpy as np
import torch
from torch import Tensor

from stepmark.engine.attention import StepAttention
from stepmark.engine.cache import BLOCK, Blocks, Ints, Trunks
from stepmark.engine.decoder import Decoder


class Rows:
    """Row r of every array is one text, a prefix and what was written after it; rows 0 to count-1 run.

    Samples that have drawn the same tokens so far are one row, and part where they draw different ones (`branch`).
    """

    def __init__(self, decoder: Decoder, head: Tensor, *, rows: int, trunks: int, tokens: int) -> None:
        """Keys and values of `tokens` tokens are held: two thirds in the rows' own blocks, one third in trunks."""
        self.decoder, self.head = decoder, head
        self.blocks = Blocks(decoder, rows, tokens * 2 // 3 // BLOCK)
        self.trunks = Trunks(decoder, trunks, tokens // 3)
        self.count = 0
        self.position = np.zeros(rows, np.int64)
        """of the token that is fed next"""
        self.own = np.zeros(rows, np.int64)
        """its place among the row's own tokens"""
        self.trunk = np.full(rows, -1, np.int64)

    def join(self, prefix: Tensor, *, trunk: bool) -> int:
        """A row for a prefix of keys and values [layers, 2, length, width], which lie in a trunk that branches of the
        row will share, or among the row's own."""
        row, length = self.count, prefix.shape[2]
        self.position[row] = length
        if trunk:
            self.own[row], self.trunk[row] = 0, self.trunks.add(prefix)
        else:
            self.own[row], self.trunk[row] = length, -1
            self.blocks.fill(row, prefix)
        self.count += 1
        return row

    def branch(self, rows: Ints) -> Ints:
        """New rows of the same texts."""
        new = np.arange(self.count, self.count + len(rows))
        for array in (self.position, self.own, self.trunk):
            array[new] = array[rows]
        self.trunks.share(self.trunk[rows][self.trunk[rows] >= 0])
        self.blocks.copy(rows, new, self.own[rows])
        self.count += len(rows)
        return new

    def step(self, ids_N: Ints) -> Tensor:
        """Feeds every row its next token; the logits [N, vocabulary] after it."""
        rows = slice(0, self.count)
        full = np.flatnonzero(self.own[rows] % BLOCK == 0)
        self.blocks.add(full, self.own[full] // BLOCK)
        attention = StepAttention(
            *(self.decoder, self.blocks, self.trunks),
            position_N=self.position[rows],
            own_N=self.own[rows],
            trunk_N=self.trunk[rows],
        )
        device = self.decoder.device
        ids, positions = torch.from_numpy(ids_N).to(device), torch.from_numpy(self.position[rows]).to(device)
        hidden = self.decoder.forward(ids, positions, attention)
        self.position[rows] += 1
        self.own[rows] += 1
        return torch.nn.functional.linear(hidden, self.head)

    def leave(self, gone: Ints) -> Ints:
        """Takes rows out, the last ones move into the gaps; returns the new name of each row."""
        left = self.count - len(gone)
        gaps = gone[gone < left]
        movers = np.setdiff1d(np.arange(left, self.count), gone, assume_unique=True)
        trunks = self.trunk[: self.count]
        renamed = self.trunks.leave(trunks[gone][trunks[gone] >= 0])
        trunks[trunks >= 0] = renamed[trunks[trunks >= 0]]
        self.blocks.rename(gone, movers, gaps)
        for array in (self.position, self.own, self.trunk):
            array[gaps] = array[movers]
        name = np.arange(self.count)
        name[movers] = gaps
        self.count = left
        return name
