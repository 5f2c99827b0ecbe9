"""Tiny models of random weights, saved as the published ones are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}


def tiny(
    config: type[PreTrainedConfig], model: type[PreTrainedModel], tokenizer: PreTrainedTokenizerBase, **settings: Any
) -> PreTrainedModel:
    """Weights so large that scores depend on every token before."""
    torch.manual_seed(0)
    sizes = {**SIZES, "max_position_embeddings": 512, "pad_token_id": tokenizer.pad_token_id, **settings}
    made: Any = model(config(vocab_size=len(tokenizer), **sizes))
    with torch.no_grad():
        for name, weight in made.named_parameters():
            if "_proj" in name or "embed" in name:
                weight.mul_(8.0)
            if name.startswith("score"):
                weight.normal_(std=0.3)
    return made.eval()


def publish(
    path: Path,
    lm: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    head: Mapping[str, Tensor] | None = None,
    **config: Any,
) -> Path:
    """The model's directory, with the head's weights beside the model's own and `config` written into config.json."""
    lm.save_pretrained(path)
    tokenizer.save_pretrained(path)
    weights = load_file(path / "model.safetensors")
    save_file({**weights, **(head or {})}, path / "model.safetensors", metadata={"format": "pt"})
    said = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps({**said, **config}))
    return path


def layer(name: str, outputs: int, *, bias: bool = True, seed: int = 1) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    weights = {f"{name}.weight": torch.randn(outputs, SIZES["hidden_size"], generator=draw) * 0.3}
    return weights | ({f"{name}.bias": torch.randn(outputs, generator=draw) * 0.3} if bias else {})
