"""The tensors that hold keys and values: a pool for the prefix tree, slots for the running samples.

Axes: layer, 2 (keys, values), then places or slots. A slot's padding is masked, so its values must be finite: all
tensors start as zeros (which on a CPU takes no memory before it is written).
"""

import torch
from torch import Tensor

from stepmark.engine.decoder import Decoder
from stepmark.engine.tree import Places


class Pool:
    """Keys and values of single tokens, by place."""

    def __init__(self, decoder: Decoder, capacity: int) -> None:
        shape = (len(decoder.layers), 2, capacity, decoder.kv_heads * decoder.head_dim)
        self.kv = torch.zeros(shape, dtype=decoder.dtype, device=decoder.device)

    def read(self, places: Places) -> Tensor:
        """[layers, 2, *places, width]"""
        index = torch.from_numpy(places.reshape(-1)).to(self.kv.device)
        found = self.kv.index_select(2, index)
        return found.view(*found.shape[:2], *places.shape, found.shape[3])

    def write(self, places: Places, kv: Tensor) -> None:
        """`kv` is [layers, 2, places, width]."""
        self.kv.index_copy_(2, torch.from_numpy(places).to(self.kv.device), kv)


class Slots:
    """One row for each running sample (its own tokens), one trunk for each prefix that several rows share.

    Rows are token-major, [layer, 2, row, token, kv heads * D]; trunks head-major, [layer, 2, trunk, kv head, token, D].
    Each kind may hold `tokens` tokens in all; its length grows to the longest that is asked for, and its number of
    slots shrinks with that, so that the memory limit holds whatever the lengths.
    """

    def __init__(self, decoder: Decoder, rows: int, row_tokens: int, trunks: int, trunk_tokens: int) -> None:
        self.decoder = decoder
        self.max_rows, self.row_tokens = rows, row_tokens
        self.max_trunks, self.trunk_tokens = trunks, trunk_tokens
        self.own = self._zeros(0, 0, decoder.kv_heads * decoder.head_dim)
        self.trunk = self._zeros(0, decoder.kv_heads, 0, decoder.head_dim)

    def rows_at(self, length: int) -> int:
        """How many rows fit when the longest has `length` own tokens."""
        return min(self.max_rows, self.row_tokens // max(_round(length), self.own.shape[3]))

    def trunks_at(self, length: int) -> int:
        """How many trunks fit when the longest has `length` tokens."""
        return min(self.max_trunks, self.trunk_tokens // max(_round(length), self.trunk.shape[4]))

    def rows_at_best(self, length: int) -> int:
        """The same when nothing longer is running."""
        return min(self.max_rows, self.row_tokens // _round(length))

    def trunks_at_best(self, length: int) -> int:
        return min(self.max_trunks, self.trunk_tokens // _round(length))

    def reserve_rows(self, length: int, live: int) -> None:
        """Makes room for rows of `length`; the first `live` rows are kept."""
        if _round(length) > self.own.shape[3]:
            old = self.own
            self.own = self._zeros(self.rows_at(length), _round(length), old.shape[4])
            self.own[:, :, :live, : old.shape[3]] = old[:, :, :live]

    def reserve_trunks(self, length: int, live: int) -> None:
        if _round(length) > self.trunk.shape[4]:
            old = self.trunk
            self.trunk = self._zeros(self.trunks_at(length), old.shape[3], _round(length), old.shape[5])
            self.trunk[:, :, :live, :, : old.shape[4]] = old[:, :, :live]

    def shrink(self) -> None:
        """Forgets the lengths asked for so far; nothing must be running."""
        self.own, self.trunk = self.own[:, :, :, :0], self.trunk[:, :, :, :, :0]

    def _zeros(self, *shape: int) -> Tensor:
        decoder = self.decoder
        return torch.zeros(len(decoder.layers), 2, *shape, dtype=decoder.dtype, device=decoder.device)


def _round(length: int) -> int:
    return -(-length // 64) * 64
