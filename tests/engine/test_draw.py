"""Drawing against transformers' own distributions; randomness against its definition."""

import numpy as np
import pytest
import torch
from transformers import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

from stepmark.engine.draw import choose, keys, uniforms

GRID = 4096


def settings(temperature, top_p, top_k):
    return {
        **{"temperature_R": torch.as_tensor(temperature, dtype=torch.float32)},
        **{"top_p_R": torch.as_tensor(top_p, dtype=torch.float32), "top_k_R": torch.as_tensor(top_k)},
    }


def spread(row, temperature=1.0, top_p=1.0, top_k=0):
    """Frequencies of the tokens drawn at evenly spaced uniforms: the distribution itself, within 1/GRID."""
    tokens, logprobs = choose(
        row[None],
        torch.zeros(GRID, dtype=torch.long),
        (torch.arange(GRID) + 0.5) / GRID,
        **settings([temperature], [top_p], [top_k]),
    )
    assert torch.allclose(logprobs, torch.log_softmax(row, -1)[tokens], atol=1e-5)
    return torch.bincount(tokens, minlength=len(row)) / GRID


@pytest.mark.parametrize(
    ("temperature", "top_p", "top_k"), [(1, 1, 0), (0.5, 1, 0), (2, 0.7, 0), (1, 1, 3), (1, 0.8, 5)]
)
def test_frequencies_are_those_of_transformers(temperature, top_p, top_k):
    row = torch.randn(20, generator=torch.Generator().manual_seed(1)) * 2
    expected = TemperatureLogitsWarper(float(temperature))(None, row[None])
    if top_k:
        expected = TopKLogitsWarper(top_k)(None, expected)
    if top_p < 1:
        expected = TopPLogitsWarper(top_p)(None, expected)
    drawn = spread(row, temperature, top_p, top_k)
    torch.testing.assert_close(drawn, torch.softmax(expected[0], -1), atol=2 / GRID, rtol=0)


def test_temperature_zero_is_the_most_likely_token():
    row = torch.tensor([0.1, 2.0, 2.0, -1.0])
    assert spread(row, temperature=0).tolist() == [0, 1, 0, 0]


def test_a_token_of_probability_zero_is_never_drawn():
    row = torch.tensor([-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf])
    uniform = torch.tensor([0.0, 1 - 2**-53], dtype=torch.float64)
    tokens, _ = choose(row[None], torch.tensor([0, 0]), uniform, **settings([1], [1], [0]))
    assert tokens.tolist() == [1, 3]


def test_a_draw_does_not_depend_on_its_company():
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(64, 30, generator=generator)
    rows, uniform = torch.randint(0, 64, (500,), generator=generator), torch.rand(500, generator=generator)
    wanted = (
        torch.rand(64, generator=generator).round(decimals=1) * 2,
        torch.rand(64, generator=generator) * 0.5 + 0.5,
        torch.randint(0, 4, (64,), generator=generator),
    )
    together, _ = choose(logits, rows, uniform, **settings(*wanted))
    for i, row in enumerate(rows.tolist()):
        own = settings(*(each[row][None] for each in wanted))
        assert choose(logits[row][None], torch.zeros(1).long(), uniform[[i]], **own)[0].item() == together[i]


def test_noise_is_splitmix64_of_key_and_position():
    """The first outputs of the published generator from state 0."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    drawn = uniforms(np.zeros(3, np.uint64), np.arange(3))
    assert drawn.tolist() == [(value >> 11) * 2.0**-53 for value in published]


def test_noise_differs_in_seed_index_and_position():
    noise = np.stack(
        [uniforms(keys(seed, np.arange(50)), np.full(50, place)) for seed in range(20) for place in range(50)]
    )
    assert len(np.unique(noise)) == noise.size
    assert abs(noise.mean() - 0.5) < 5 * (1 / 12 / noise.size) ** 0.5
    for lag in (1, 7):
        assert abs(np.corrcoef(noise[:-lag].ravel(), noise[lag:].ravel())[0, 1]) < 5 / noise.size**0.5
        assert abs(np.corrcoef(noise[:, :-lag].ravel(), noise[:, lag:].ravel())[0, 1]) < 5 / noise.size**0.5


@pytest.mark.parametrize("seed", [-1, 2**64 + 5, 0])
def test_any_integer_is_a_seed(seed):
    assert keys(seed, np.arange(3)).tolist() == keys(seed % 2**64, np.arange(3)).tolist()
