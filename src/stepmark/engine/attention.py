"""Attention of a prefill and of one decoding step over the cache; both are an `Attend` of the decoder."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepmark.engine.cache import BLOCK, Blocks, Ints, Pool, Trunks
from stepmark.engine.decoder import Decoder
from stepmark.engine.tree import Places


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
    read it together. Cell (trunk, kv head, rank) of the second holds the queries of the rank-th row of the trunk.
    """

    def __init__(
        self, decoder: Decoder, blocks: Blocks, trunks: Trunks, *, position_N: Ints, own_N: Ints, trunk_N: Ints
    ) -> None:
        """`own_N` is the number of the new token among the row's own; `trunk_N` is -1 for rows without a trunk."""
        self.decoder, self.blocks, self.trunks = decoder, blocks, trunks
        device = decoder.device
        rows = np.arange(len(own_N))
        self.rows, self.levels = len(own_N), int(own_N.max()) // BLOCK + 1
        self.shared = trunks.length if trunks.count else 0
        owner, level = blocks.owner[: blocks.count], blocks.level[: blocks.count]
        self.owner = torch.from_numpy(owner).to(device)
        self.slot = torch.from_numpy(owner * self.levels + level).to(device)
        held = np.arange(self.levels) <= own_N[:, None] // BLOCK
        self.held = torch.from_numpy(np.where(held, blocks.table[rows, : self.levels], 0).reshape(-1)).to(device)
        self.new = blocks.places(rows, own_N)
        length_N = np.where(trunk_N >= 0, trunks.lengths[trunk_N], 0)[:, None]
        in_trunk, in_own = np.arange(self.shared), np.arange(self.levels * BLOCK)
        seen = np.concatenate([in_trunk < length_N, in_own <= own_N[:, None]], axis=1)
        key = np.concatenate([np.broadcast_to(in_trunk, (self.rows, self.shared)), length_N + in_own], axis=1)
        self.masks: dict[int | None, Tensor] = {}
        for window in set(decoder.windows):
            hidden = ~seen if window is None else ~seen | (key <= position_N[:, None] - window)
            mask = torch.zeros(hidden.shape, dtype=decoder.dtype, device=device)
            self.masks[window] = mask.masked_fill_(torch.from_numpy(hidden).to(device), -torch.inf).unsqueeze(1)
        self.scale = decoder.head_dim**-0.5
        if self.shared:
            self._lay_grid(trunk_N)

    def _lay_grid(self, trunk_N: Ints) -> None:
        """The row of each cell and the cell of each row, by kv head; a cell without a row repeats row 0 and is never
        read."""
        device, heads = self.decoder.device, np.arange(self.decoder.kv_heads)
        rows = np.flatnonzero(trunk_N >= 0)
        rows = rows[np.argsort(trunk_N[rows], kind="stable")]
        trunk = trunk_N[rows]
        rank = np.arange(len(rows)) - np.searchsorted(trunk, trunk)
        width = int(rank.max()) + 1
        grid = np.zeros((self.trunks.count, len(heads), width), np.int64)
        cell = np.zeros((self.rows, len(heads)), np.int64)
        cell[rows] = (trunk[:, None] * len(heads) + heads) * width + rank[:, None]
        grid.reshape(-1)[cell[rows]] = rows[:, None] * len(heads) + heads
        self.grid, self.cell = (torch.from_numpy(x.reshape(-1)).to(device) for x in (grid, cell))
        self.has_trunk = torch.from_numpy(trunk_N >= 0).to(device, self.decoder.dtype).unsqueeze(1)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, heads, size = q.shape
        kv_heads, levels, shared = self.decoder.kv_heads, self.levels, self.shared
        keys, values = self.blocks.kv[layer, :, : self.blocks.count].flatten(1, 2)
        keys.flatten(0, 1).index_copy_(0, self.new, k.reshape(-1, size))
        values.flatten(0, 1).index_copy_(0, self.new, v.reshape(-1, size))

        mine = q.index_select(0, self.owner).view(len(keys), -1, size)
        own = torch.bmm(mine, keys.transpose(1, 2)).view(-1, heads, BLOCK)
        own = own.index_select(0, self.held).view(rows, levels, heads, BLOCK).transpose(1, 2).flatten(2)
        if shared:
            trunk_keys, trunk_values = self.trunks.kv[layer].flatten(1, 2)
            cells = q.reshape(rows * kv_heads, -1).index_select(0, self.grid).view(len(trunk_keys), -1, size)
            common = torch.bmm(cells, trunk_keys.transpose(1, 2)).view(len(self.grid), -1)
            own = torch.cat([common.index_select(0, self.cell).view(rows, heads, shared), own], dim=2)

        mask = self.masks[self.decoder.windows[layer]]
        weights = torch.softmax(torch.add(mask, own, alpha=self.scale), dim=-1)
        own = weights[..., shared:].view(rows, heads, levels, BLOCK).transpose(1, 2).flatten(0, 1)
        own = torch.bmm(own.index_select(0, self.slot).view(len(values), -1, BLOCK), values)
        out = q.new_zeros(rows, heads * size).index_add_(0, self.owner, own.view(-1, heads * size))
        if shared:
            common = weights[..., :shared].reshape(rows * kv_heads, -1).index_select(0, self.grid)
            common = torch.bmm(common.view(len(trunk_values), -1, shared), trunk_values).view(len(self.grid), -1)
            out = torch.addcmul(out, common.index_select(0, self.cell).view(rows, -1), self.has_trunk)
        return out
