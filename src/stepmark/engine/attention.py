"""Attention of a prefill and of one decoding step over the cache; both are an `Attend` of the decoder."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from stepmark.engine.cache import Pool, Slots
from stepmark.engine.decoder import Decoder
from stepmark.engine.tree import Places

Ints = npt.NDArray[np.int64]


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
        self.spread = torch.from_numpy(spread).to(decoder.device)
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
        padded = kv[:, self.spread]
        if self.past is not None:
            padded = torch.cat([self.past[layer], padded], dim=2)
        keys, values = padded.view(*padded.shape[:3], decoder.kv_heads, decoder.head_dim).transpose(2, 3)
        mask = self.masks[decoder.windows[layer]]
        out = F.scaled_dot_product_attention(
            q[self.spread].transpose(1, 2), keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=True
        )
        return out.transpose(1, 2).flatten(2).flatten(0, 1)[self.gather]

    def kv(self) -> Tensor:
        """[layers, 2, new tokens, width]"""
        return torch.stack(self.collected)


class StepAttention:
    """One new token for each row: over the trunk that it shares with other rows, and over its own tokens.

    The rows of a trunk read it together, as one matrix product. Over the row's own tokens all heads share one product
    too: the queries of a row are laid on the diagonal of a [heads, kv heads * D] matrix, whose zeros pick each head's
    part of the token-major keys. That wastes arithmetic, which is cheap, to save many tiny products, which are not.
    """

    def __init__(
        self, decoder: Decoder, slots: Slots, *, position_N: Ints, own_N: Ints, trunk_N: Ints, trunk_length_N: Ints
    ) -> None:
        """`own_N` is the index of the new token among the row's own; `trunk_N` is -1 for rows without a trunk."""
        device = decoder.device
        self.decoder, self.slots = decoder, slots
        self.scale = decoder.head_dim**-0.5
        self.count = len(own_N)
        self.length = min(-(-int(own_N.max() + 1) // 16) * 16, slots.own.shape[3])
        self.shared = min(-(-int(trunk_length_N.max()) // 16) * 16, slots.trunk.shape[4])
        self.flat = torch.from_numpy(np.arange(self.count) * slots.own.shape[3] + own_N).to(device)
        column = np.concatenate([np.arange(self.shared), np.arange(self.length)])
        is_own = np.arange(len(column)) >= self.shared
        seen = np.where(is_own, column <= own_N[:, None], column < trunk_length_N[:, None])
        key = np.where(is_own, trunk_length_N[:, None] + column, column)
        self.masks: dict[int | None, Tensor] = {}
        for window in set(decoder.windows):
            visible = seen if window is None else seen & (key > position_N[:, None] - window)
            mask = torch.zeros(visible.shape, dtype=decoder.dtype, device=device)
            mask.masked_fill_(torch.from_numpy(~visible).to(device), -torch.inf)
            self.masks[window] = mask.unsqueeze(1)
        group = torch.arange(decoder.heads, device=device) // (decoder.heads // decoder.kv_heads)
        diagonal = group.unsqueeze(1) == torch.arange(decoder.kv_heads, device=device)
        self.diagonal = diagonal.to(decoder.dtype).unsqueeze(2)
        if self.shared:
            self._lay_grid(trunk_N)

    def _lay_grid(self, trunk_N: Ints) -> None:
        """Cells [trunks, width] of the rows that share each trunk; cells without a row repeat row 0."""
        rows = np.flatnonzero(trunk_N >= 0)
        rows = rows[np.argsort(trunk_N[rows], kind="stable")]
        trunks = trunk_N[rows]
        starts = np.searchsorted(trunks, np.arange(trunks[-1] + 1))
        rank = np.arange(len(rows)) - starts[trunks]
        self.width = -(-int(rank.max() + 1) // 4) * 4
        self.trunks = int(trunks[-1]) + 1
        grid = np.zeros(self.trunks * self.width, np.int64)
        cell = np.zeros(self.count, np.int64)
        cell[rows] = trunks * self.width + rank
        grid[cell[rows]] = rows
        device = self.decoder.device
        self.grid, self.cell = torch.from_numpy(grid).to(device), torch.from_numpy(cell).to(device)
        self.has_trunk = torch.from_numpy(trunk_N >= 0).to(device, self.decoder.dtype).unsqueeze(1)

    def __call__(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        decoder, shared = self.decoder, self.shared
        keys, values = self.slots.own[layer]
        keys.flatten(0, 1).index_copy_(0, self.flat, k.flatten(1))
        values.flatten(0, 1).index_copy_(0, self.flat, v.flatten(1))
        keys, values = keys[: self.count, : self.length], values[: self.count, : self.length]
        mask = self.masks[decoder.windows[layer]]
        scores = q.new_empty(self.count, decoder.heads, shared + self.length)
        spread = (q.unsqueeze(2) * self.diagonal).flatten(2)
        own = torch.bmm(keys, spread.transpose(1, 2)).transpose(1, 2)
        torch.add(mask[..., shared:], own, alpha=self.scale, out=scores[..., shared:])
        if shared:
            trunk_keys, trunk_values = self.slots.trunk[layer, :, : self.trunks, :, :shared].flatten(1, 2)
            together = self._rows(torch.bmm(self._cells(q), trunk_keys.transpose(1, 2)))
            torch.add(mask[..., :shared], together, alpha=self.scale, out=scores[..., :shared])
        weights = torch.softmax(scores, dim=-1)
        out = torch.bmm(weights[..., shared:], values)
        out = out.view(self.count, decoder.kv_heads, -1, decoder.kv_heads, decoder.head_dim)
        out = out.diagonal(dim1=1, dim2=3).permute(0, 3, 1, 2).flatten(1)
        if shared:
            together = self._rows(torch.bmm(self._cells(weights[..., :shared]), trunk_values))
            out = torch.addcmul(out, together.flatten(1), self.has_trunk)
        return out

    def _cells(self, x: Tensor) -> Tensor:
        """[rows, heads, M] -> [trunks * kv heads, width * heads of a group, M]"""
        x = x[self.grid].view(self.trunks, self.width, self.decoder.kv_heads, -1, x.shape[-1])
        return x.transpose(1, 2).flatten(2, 3).flatten(0, 1)

    def _rows(self, x: Tensor) -> Tensor:
        """[trunks * kv heads, width * heads of a group, M] -> [rows, heads, M]"""
        x = x.view(self.trunks, self.decoder.kv_heads, self.width, -1, x.shape[-1])
        return x.transpose(1, 2).flatten(2, 3).flatten(0, 1)[self.cell]
