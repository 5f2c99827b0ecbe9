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
    """Flat new tokens of several sequences, each after its own cached prefix; collects the new keys and values.

    `cached` holds each sequence's places of its cached prefix, `new` the number of its new tokens.
    """

    def __init__(self, decoder: Decoder, pool: Pool, cached: Sequence[Places], new: Sequence[int]) -> None:
        self.decoder = decoder
        self.collected: list[Tensor] = []
        past, count = np.array([len(p) for p in cached]), np.array(new)
        sequences, longest_past, longest = len(new), int(past.max()), int(count.max())
        places = np.zeros((sequences, longest_past), np.int64)
        for row, path in zip(places, cached, strict=True):
            row[: len(path)] = path
        self.past = pool.read(places) if longest_past else None
        real = np.arange(longest) < count[:, None]
        spread = np.zeros((sequences, longest), np.int64)
        spread[real] = np.arange(count.sum())
        self.shape = spread.shape
        self.spread = torch.from_numpy(spread.reshape(-1)).to(decoder.device)
        self.gather = torch.from_numpy(np.flatnonzero(real)).to(decoder.device)
        column = np.concatenate([np.arange(longest_past), np.arange(longest)])
        known = column[:longest_past] < past[:, None]
        key = np.where(np.arange(longest_past + longest) < longest_past, column, past[:, None] + column)
        query = past[:, None] + np.arange(longest)
        valid = np.concatenate([known, np.ones_like(spread, bool)], axis=1)
        self.masks: dict[int | None, Tensor | None] = {}
        for window in set(decoder.windows):
            seen: npt.NDArray[np.bool_] = valid[:, None] & (key[:, None] <= query[:, :, None])
            if window is not None:
                seen &= key[:, None] > query[:, :, None] - window
            plain = not longest_past and (window is None or window >= longest)
            self.masks[window] = None if plain else torch.from_numpy(seen).to(decoder.device).unsqueeze(1)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        decoder = self.decoder
        kv = torch.stack([k, v]).flatten(2)
        self.collected.append(kv)
        padded = kv.index_select(1, self.spread).view(2, *self.shape, -1)
        if self.past is not None:
            padded = torch.cat([self.past[layer], padded], dim=2)
        keys, values = padded.view(*padded.shape[:3], decoder.kv_heads, decoder.head_dim).transpose(2, 3)
        mask = self.masks[decoder.windows[layer]]
        queries = q.index_select(0, self.spread).view(*self.shape, decoder.heads, -1).transpose(1, 2)
        out = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(2).flatten(0, 1).index_select(0, self.gather)

    def kv(self) -> Tensor:
        """[layers, 2, new tokens, width]"""
        return torch.stack(self.collected)


class StepAttention:
    """One new token for each row: over the trunk that it shares with other rows, and over its own blocks.

    For each kv head all blocks are one batch of matrix products, and all trunks another, in which the rows of a trunk
    read it together: cell (trunk, kv head, rank) holds the queries of the rank-th row of the trunk. A softmax is put
    together from its parts, one of each block and one of the trunk, each relative to its own largest score (Dao et al.
    2022, arXiv 2205.14135, section 3.1), so that rows of any lengths cost what they hold.
    """

    def __init__(
        self, decoder: Decoder, blocks: Blocks, trunks: Trunks, *, position_N: Ints, own_N: Ints, trunk_N: Ints
    ) -> None:
        """`own_N` is the number of the new token among the row's own; `trunk_N` is -1 for rows without a trunk."""
        self.decoder, self.blocks, self.trunks = decoder, blocks, trunks
        self.rows = np.arange(len(own_N))
        self.position_N, self.trunk_N = position_N, trunk_N
        self.shared = trunks.length if trunks.count else 0
        self.new = blocks.places(self.rows, own_N)
        owner, level = blocks.owner[: blocks.count], blocks.level[: blocks.count]
        self.owner = self._tensor(owner)
        column = level[:, None] * BLOCK + np.arange(BLOCK)
        self.masks = {w: self._mask(self._seen(owner, column, own_N, w)[:, None]) for w in set(decoder.windows)}
        self._lay_parts(owner, own_N)
        if self.shared:
            self._lay_grid()

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

    def _lay_parts(self, owner: Ints, own_N: Ints) -> None:
        """Parts are the blocks, then with trunks one of each row. `bags` lists the parts row by row, `largest` as many
        for each row, some of them twice."""
        parts = [self.blocks.table[self.rows, : int(own_N.max()) // BLOCK + 1]]
        held = [np.arange(parts[0].shape[1]) <= own_N[:, None] // BLOCK]
        if self.shared:
            parts.append(len(owner) + self.rows[:, None])
            held.append(np.ones((len(self.rows), 1), bool))
        part, real = np.concatenate(parts, axis=1), np.concatenate(held, axis=1)
        self.bags = self._tensor(part[real])
        self.offsets = self._tensor(np.cumsum(real.sum(axis=1)) - real.sum(axis=1))
        self.largest = self._tensor(np.where(real, part, part[:, :1]).reshape(-1))
        self.part_owner = torch.cat([self.owner, self._tensor(self.rows)]) if self.shared else self.owner

    def _lay_grid(self) -> None:
        """The row of each cell and the cell of each row, by kv head; a cell without a row repeats row 0 and is never
        read."""
        heads, group = np.arange(self.decoder.kv_heads), self.decoder.heads // self.decoder.kv_heads
        rows = np.flatnonzero(self.trunk_N >= 0)
        rows = rows[np.argsort(self.trunk_N[rows], kind="stable")]
        trunk = self.trunk_N[rows]
        rank = np.arange(len(rows)) - np.searchsorted(trunk, trunk)
        width = int(rank.max()) + 1
        grid = np.zeros((self.trunks.count, len(heads), width), np.int64)
        cell = np.zeros((len(self.rows), len(heads)), np.int64)
        cell[rows] = (trunk[:, None] * len(heads) + heads) * width + rank[:, None]
        grid.reshape(-1)[cell[rows]] = rows[:, None] * len(heads) + heads
        self.grid, self.cell = self._tensor(grid.reshape(-1)), self._tensor(cell.reshape(-1))
        self.without = self._tensor(self.trunk_N < 0)[:, None, None]
        token = np.arange(self.shared)
        seen = (token < self.trunks.lengths[: self.trunks.count, None])[:, None]
        position = self.position_N[grid[:, 0] // len(heads), None]
        self.trunk_masks = {
            window: self._mask(seen if window is None else np.repeat(seen & (token > position - window), group, axis=1))
            for window in set(self.decoder.windows)
        }

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, heads, size = q.shape
        window = self.decoder.windows[layer]
        keys, values = self.blocks.kv[layer, :, : self.blocks.count].flatten(1, 2)
        keys.flatten(0, 1).index_copy_(0, self.new, k.reshape(-1, size))
        values.flatten(0, 1).index_copy_(0, self.new, v.reshape(-1, size))
        queries = q.index_select(0, self.owner).view(len(keys), -1, size)
        parts = [x.view(-1, heads, x.shape[-1]) for x in _part(queries, keys, values, self.masks[window], size**-0.5)]
        if self.shared:
            keys, values = self.trunks.kv[layer].flatten(1, 2)
            queries = q.reshape(len(self.cell), -1).index_select(0, self.grid).view(len(keys), -1, size)
            found = _part(queries, keys, values, self.trunk_masks[window], size**-0.5)
            common = [x.view(len(self.grid), -1).index_select(0, self.cell).view(rows, heads, -1) for x in found]
            common[1].masked_fill_(self.without, HIDDEN)
            parts = [torch.cat(pair) for pair in zip(parts, common, strict=True)]
        value, best, mass = parts
        largest = best.index_select(0, self.largest).view(rows, -1, heads, 1).amax(1)
        weight = mass.mul_((best - largest.index_select(0, self.part_owner)).exp_())
        sums = torch.cat([value * weight, weight], dim=-1)
        total = F.embedding_bag(self.bags, sums.flatten(1), self.offsets, mode="sum").view(rows, heads, -1)
        return (total[..., :size] / total[..., size:]).to(q.dtype).flatten(1)


def _part(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, scale: float) -> tuple[Tensor, Tensor, Tensor]:
    """A softmax over these keys alone: its values [..., D], the largest score [..., 1], and [..., 1] the sum of all
    exp(score - largest), which is one over the largest weight."""
    scores = torch.baddbmm(mask, queries, keys.transpose(1, 2), alpha=scale)
    weights = torch.softmax(scores, dim=-1, dtype=torch.float32)
    best, mass = scores.amax(-1, keepdim=True).float(), weights.amax(-1, keepdim=True).reciprocal_()
    return torch.bmm(weights.to(values.dtype), values), best, mass
