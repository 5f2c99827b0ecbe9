"""Attention of a prefill and of one decoding step over the cache; both are an `Attend` of the decoder."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepmark.engine.cache import BLOCK, Blocks, Ints, Pool, Trunks
from stepmark.engine.decoder import Decoder
from stepmark.engine.tree import Places

HIDDEN = -1e30
"""the score of a key that a query does not see"""


class PrefillAttention:
    """Flat new tokens of several sequences, each after its own cached prefix; puts their keys and values into the pool.

    `paths` holds the places of each sequence's tokens. Those from `starts` on are computed; the pool lacks those from
    `known` on. Each layer writes what the pool lacks, then reads the whole paths: reading all layers at once would cost
    ten times as much, since it needs fresh memory.
    """

    def __init__(self, decoder: Decoder, pool: Pool, paths: Sequence[Places], *, starts: Ints, known: Ints) -> None:
        self.decoder, self.pool = decoder, pool
        ends = np.array([len(path) for path in paths])
        sequences, longest, new = len(paths), int(ends.max()), int((ends - starts).max())
        places = np.zeros((sequences, longest), np.int64)
        for row, path in zip(places, paths, strict=True):
            row[: len(path)] = path
        token = starts[:, None] + np.arange(new)
        real = token < ends[:, None]
        spread = np.zeros((sequences, new), np.int64)
        spread[real] = np.arange(real.sum())
        missing = np.flatnonzero((token >= known[:, None])[real])
        self.shape, self.length = spread.shape, longest
        self.spread, self.real = self._tensor(spread.reshape(-1)), self._tensor(np.flatnonzero(real))
        self.missing, self.places = self._tensor(missing), self._tensor(places.reshape(-1))
        self.targets = self._tensor(np.concatenate([path[at:] for path, at in zip(paths, known, strict=True)]))
        self.masks: dict[int | None, Tensor | None] = {}
        query, key = np.minimum(token, longest - 1)[:, :, None], np.arange(longest)
        for window in set(decoder.windows):
            seen = key <= query if window is None else (key <= query) & (key > query - window)
            plain = not starts.any() and (window is None or window >= longest)
            mask = torch.zeros(seen.shape, dtype=decoder.dtype).masked_fill_(torch.from_numpy(~seen), -torch.inf)
            self.masks[window] = None if plain else mask.to(decoder.device).unsqueeze(1)

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.decoder.device)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        decoder, kv = self.decoder, self.pool.kv[layer]
        for held, new in zip(kv, (k, v), strict=True):
            held.index_copy_(0, self.targets, new.flatten(1).index_select(0, self.missing))
        keys, values = (
            kv.index_select(1, self.places).view(2, -1, self.length, decoder.kv_heads, decoder.head_dim).transpose(2, 3)
        )
        mask = self.masks[decoder.windows[layer]]
        queries = q.index_select(0, self.spread).view(*self.shape, decoder.heads, -1).transpose(1, 2)
        out = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.real)


class StepAttention:
    """One new token for each row: over the trunk that it shares with other rows, and over its own blocks.

    For each kv head all blocks are one batch of matrix products, and all trunks another, in which the rows of a trunk
    read it together: cell (trunk, kv head, rank) holds the queries of the rank-th row of the trunk. A softmax is put
    together from its parts, one of each block and one of the trunk, each relative to its own largest score (Dao et al.
    2022, arXiv 2205.14135, section 3.1), so that rows of any lengths cost what they hold.

    Parts are numbered (block, head), then (cell, head of the kv head); the last one is a part of no keys.
    """

    def __init__(
        self, decoder: Decoder, blocks: Blocks, trunks: Trunks, *, position_N: Ints, own_N: Ints, trunk_N: Ints
    ) -> None:
        """`own_N` is the number of the new token among the row's own; `trunk_N` is -1 for rows without a trunk."""
        self.decoder, self.blocks, self.trunks = decoder, blocks, trunks
        rows = np.arange(len(own_N))
        self.new = blocks.places(rows, own_N)
        owner, level = blocks.owner[: blocks.count], blocks.level[: blocks.count]
        self.owner = self._tensor(np.maximum(owner, 0))
        column = level[:, None] * BLOCK + np.arange(BLOCK)
        self.masks = {w: self._mask(self._seen(owner, column, own_N, w)[:, None]) for w in set(decoder.windows)}
        held = np.arange(int(own_N.max()) // BLOCK + 1) <= own_N[:, None] // BLOCK
        block = blocks.table[rows, : held.shape[1]][:, None]
        head = np.arange(decoder.heads)[:, None]
        self.own = blocks.count * decoder.heads
        part, real = block * decoder.heads + head, np.repeat(held[:, None], decoder.heads, axis=1)
        self.cells = 0
        if trunks.count:
            cell = self._lay_cells(position_N, trunk_N)
            part = np.concatenate([part, (self.own + cell)[..., None]], axis=2)
            real = np.concatenate([real, np.broadcast_to(trunk_N[:, None, None] >= 0, (*cell.shape, 1))], axis=2)
        nothing = self.own + self.cells
        self.parts = self._tensor(np.where(real, part, nothing).reshape(-1, part.shape[2]))
        self.by_part = self.parts.t().reshape(-1)
        self.values = torch.zeros(nothing + 1, decoder.head_dim, dtype=decoder.dtype, device=decoder.device)
        self.best = torch.full((nothing + 1,), HIDDEN, dtype=decoder.dtype, device=decoder.device)
        self.top = torch.ones(nothing + 1, dtype=torch.float32, device=decoder.device)

    def _tensor(self, array: npt.NDArray[Any]) -> Tensor:
        return torch.from_numpy(array).to(self.decoder.device)

    def _mask(self, seen: npt.NDArray[np.bool_]) -> Tensor:
        """What is added to scores, repeated for each kv head. Not infinite: a part may see nothing at all."""
        hidden = self._tensor(np.repeat(~seen, self.decoder.kv_heads, axis=0))
        return torch.zeros(hidden.shape, dtype=self.decoder.dtype, device=hidden.device).masked_fill_(hidden, HIDDEN)

    def _seen(self, owner: Ints, column: Ints, own_N: Ints, window: int | None) -> npt.NDArray[np.bool_]:
        """Which of their own tokens the owners see."""
        seen: npt.NDArray[np.bool_] = column <= own_N[owner, None]
        return seen if window is None else seen & (column > own_N[owner, None] - window)

    def _lay_cells(self, position_N: Ints, trunk_N: Ints) -> Ints:
        """The part [N, heads] of each row's trunk, counted from the first such part. `grid` is the row of each cell, by
        kv head; a cell without a row repeats row 0 and is never read."""
        heads, group = np.arange(self.decoder.kv_heads), self.decoder.heads // self.decoder.kv_heads
        rows = np.flatnonzero(trunk_N >= 0)
        rows = rows[np.argsort(trunk_N[rows], kind="stable")]
        trunk = trunk_N[rows]
        rank = np.arange(len(rows)) - np.searchsorted(trunk, trunk)
        width = int(rank.max()) + 1
        grid = np.zeros((self.trunks.count, len(heads), width), np.int64)
        cell = np.zeros((len(trunk_N), len(heads)), np.int64)
        cell[rows] = (trunk[:, None] * len(heads) + heads) * width + rank[:, None]
        grid.reshape(-1)[cell[rows]] = rows[:, None] * len(heads) + heads
        self.cells, self.grid = grid.size * group, self._tensor(grid.reshape(-1))
        token = np.arange(self.trunks.longest)
        seen = (token < self.trunks.lengths[: self.trunks.count, None])[:, None]
        position = position_N[grid[:, 0] // len(heads), None]
        self.trunk_masks = {
            window: self._mask(seen if window is None else np.repeat(seen & (token > position - window), group, axis=1))
            for window in set(self.decoder.windows)
        }
        return (cell[..., None] * group + np.arange(group)).reshape(len(cell), -1)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        size, window = q.shape[2], self.decoder.windows[layer]
        keys, values = self.blocks.kv[layer, :, : self.blocks.count].flatten(1, 2)
        keys.flatten(0, 1).index_copy_(0, self.new, k.reshape(-1, size))
        values.flatten(0, 1).index_copy_(0, self.new, v.reshape(-1, size))
        queries = q.index_select(0, self.owner).view(len(keys), -1, size)
        self._fill(slice(0, self.own), queries, keys, values, self.masks[window])
        if self.cells:
            keys, values = self.trunks.kv[layer, ..., : self.trunks.longest, :].flatten(1, 2)
            queries = q.reshape(-1, q.shape[1] // self.decoder.kv_heads * size).index_select(0, self.grid)
            queries = queries.view(len(keys), -1, size)
            self._fill(slice(self.own, self.own + self.cells), queries, keys, values, self.trunk_masks[window])
        mass = self.best - self.top.log()
        weight = torch.softmax(mass.index_select(0, self.by_part).view(-1, len(self.parts)), dim=0).t().to(q.dtype)
        return F.embedding_bag(self.parts, self.values, mode="sum", per_sample_weights=weight).view(len(q), -1)

    def _fill(self, parts: slice, queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor) -> None:
        """Softmaxes over these keys alone: their values [parts, D], the largest scores, and the largest weights, of
        which each is one over the sum of all exp(score - largest)."""
        scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=queries.shape[2] ** -0.5)
        weights = torch.softmax(scores, dim=-1, dtype=torch.float32)
        torch.amax(scores, -1, out=self.best[parts].view(scores.shape[:2]))
        torch.amax(weights, -1, out=self.top[parts].view(scores.shape[:2]))
        torch.bmm(weights.to(values.dtype), values, out=self.values[parts].view(queries.shape))
