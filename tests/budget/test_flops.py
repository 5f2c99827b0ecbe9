"""FLOPs by formula against those that torch counts in a real forward pass."""

import json

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import AutoModelForCausalLM

from stepmark.budget.flops import ModelSize, flops
from stepmark.errors import InputError
from stepmark.policies import bundled
from stepmark.types import Cost


@pytest.mark.parametrize("tokens", [1, 7, 50])
def test_the_matrices_of_a_forward_pass_are_counted_exactly(tokens):
    """torch counts attention over all pairs of tokens; a causal model needs each pair once, and each token itself."""
    model = AutoModelForCausalLM.from_pretrained(bundled.PATH, dtype="float32", attn_implementation="eager")
    size = ModelSize.read(bundled.PATH)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(torch.arange(tokens)[None] + 3)
    pairs = 4 * size.layers * size.width
    square, causal = pairs * tokens**2, pairs * tokens * (tokens + 1) // 2
    ours = flops(size, Cost(scored=tokens)) + 2 * size.head * tokens
    assert ours - causal + square == pytest.approx(counter.get_total_flops(), rel=1e-4)


def test_a_token_at_a_time_from_the_cache_costs_what_all_at_once_does():
    size = ModelSize(body=1000, head=10, layers=3, width=16)
    single = sum(flops(size, Cost(scored=1, cached=before)) for before in range(20))
    assert single == flops(size, Cost(scored=20))
    assert flops(size, Cost(prompt=12, generated=8)) == single + 2 * 10 * 8


def test_shared_keys_are_fewer_weights():
    config = json.loads((bundled.PATH / "config.json").read_text())
    full, shared = ModelSize.of(config), ModelSize.of(config | {"num_key_value_heads": 1})
    assert full.body - shared.body == config["num_hidden_layers"] * 2 * 128 * 3 * 32


def test_what_cannot_be_counted_is_refused(tmp_path):
    with pytest.raises(InputError, match="mamba"):
        ModelSize.of({"model_type": "mamba"})
    with pytest.raises(InputError, match="hidden_size"):
        ModelSize.of({"model_type": "llama"})
    with pytest.raises(InputError, match=r"config\.json"):
        ModelSize.read(tmp_path)
