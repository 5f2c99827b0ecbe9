"""Logits to tokens. The randomness at a token is a function of (seed, sample index, position) alone."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Keys = npt.NDArray[np.uint64]

_STEP = np.uint64(0x9E3779B97F4A7C15)
_MASK = (1 << 64) - 1


def keys(seed: int, indices: npt.NDArray[np.int64]) -> Keys:
    """One key for each sample index of a request with `seed` (any integer, taken modulo 2^64)."""
    start = _mix(np.array([seed & _MASK], dtype=np.uint64) + _STEP)
    return _mix(start ^ _mix(indices.astype(np.uint64) * _STEP + np.uint64(1)))


def uniforms(key_N: Keys, position_N: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Numbers in [0, 1) for the token at each position of a sample's whole sequence, with 53 random bits."""
    bits = _mix(key_N + (position_N.astype(np.uint64) + np.uint64(1)) * _STEP)
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: Keys) -> Keys:
    """The finalizer of SplitMix64 (Steele, Lea, Flood 2014)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def choose(
    logits_R_V: Tensor, row_N: Tensor, uniform_N: Tensor, *, temperature_R: Tensor, top_p_R: Tensor, top_k_R: Tensor
) -> tuple[Tensor, Tensor]:
    """Tokens [N] and their log-probabilities [N] at temperature 1, by inverting the distribution of each one's row at
    its uniform.

    `logits_R_V` is float32. Temperature 0 takes the most likely token (the first of equals). Top-k is applied before
    top-p, both to the distribution at the row's temperature; top-p keeps the fewest most likely tokens that reach it.
    A result does not depend on the other rows, nor on others of its row.
    """
    greedy_R = temperature_R == 0
    probs = torch.softmax(logits_R_V / torch.where(greedy_R, 1.0, temperature_R).unsqueeze(1), dim=-1)
    limited = ((top_p_R < 1) | (top_k_R > 0)).nonzero().squeeze(1)
    if len(limited):
        probs[limited] = _truncate(probs[limited], top_p_R[limited], top_k_R[limited])
    cumulative = probs.cumsum(dim=-1).index_select(0, row_N)
    total = cumulative[:, -1:]
    point = torch.minimum(
        uniform_N.unsqueeze(1).to(total.dtype) * total, torch.nextafter(total, torch.zeros_like(total))
    )
    drawn_N = torch.searchsorted(cumulative, point, right=True).squeeze(1)
    likeliest = greedy_R[row_N].nonzero().squeeze(1)
    tokens_N = drawn_N.index_copy_(0, likeliest, logits_R_V.index_select(0, row_N[likeliest]).argmax(dim=-1))
    return tokens_N, logits_R_V.log_softmax(dim=-1)[row_N, tokens_N]


def _truncate(probs_N_V: Tensor, top_p_N: Tensor, top_k_N: Tensor) -> Tensor:
    """The probabilities with all but the top ones set to 0."""
    ranked, order = probs_N_V.sort(dim=-1, descending=True, stable=True)
    rank = torch.arange(ranked.shape[1], device=ranked.device)
    ranked = ranked.masked_fill((top_k_N.unsqueeze(1) > 0) & (rank >= top_k_N.unsqueeze(1)), 0)
    before = ranked.cumsum(dim=-1) - ranked
    ranked = ranked.masked_fill(before >= top_p_N.unsqueeze(1) * ranked.sum(dim=-1, keepdim=True), 0)
    return torch.zeros_like(probs_N_V).scatter(1, order, ranked)
