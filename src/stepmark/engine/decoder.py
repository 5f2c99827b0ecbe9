"""The forward pass of a decoder-only model over flat tokens, with attention left open.

Covered: Llama, Mistral, Qwen2 / Qwen2.5 and Qwen3 weights as transformers loads them (grouped-query attention, biases,
query and key norms, sliding windows, rotary embeddings whose table does not depend on the length). Any other
architecture is refused. Not covered: mixtures of experts, quantized weights, adapters (merge them first).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from stepmark.errors import InputError

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
ROPES = ("default", "linear", "llama3", "yarn")
"""rotary embeddings whose angles are a function of the position alone"""

Attend = Callable[[int, Tensor, Tensor, Tensor], Tensor]
"""(layer, queries [N, heads, D], keys [N, kv heads, D], values [N, kv heads, D]) -> [N, heads * D]"""


@dataclass(frozen=True)
class Layer:
    """The weights of one layer; projections that read the same input are one matrix."""

    attention_norm: Tensor
    qkv: Tensor
    qkv_bias: Tensor | None
    q_norm: Tensor | None
    k_norm: Tensor | None
    out: Tensor
    out_bias: Tensor | None
    mlp_norm: Tensor
    gate_up: Tensor
    gate_up_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None


class Decoder:
    """A backbone (`LlamaModel`, `Qwen2Model`, ...) read into plain tensors of its own dtype and device.

    Weights are held once, by the backbone and the Decoder together: the backbone's projections become parts of the
    Decoder's matrices. A backbone that is moved elsewhere, or converted, needs a new Decoder.
    """

    def __init__(self, backbone: Any) -> None:
        config = backbone.config
        _check(config)
        self.heads: int = config.num_attention_heads
        self.kv_heads: int = config.num_key_value_heads
        self.head_dim: int = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.context: int = config.max_position_embeddings
        self.vocabulary: int = config.vocab_size
        self.windows = _windows(config)
        self.eps: float = config.rms_norm_eps
        with torch.no_grad():
            self.embedding: Tensor = backbone.embed_tokens.weight.detach()
            self.layers = [_layer(layer) for layer in backbone.layers]
            self.norm: Tensor = backbone.norm.weight.detach()
            self.rotary = backbone.rotary_emb
        self.dtype = self.embedding.dtype
        self.device = self.embedding.device
        self.cos = self.sin = torch.empty(0, self.head_dim, dtype=self.dtype, device=self.device)

    @property
    def token_bytes(self) -> int:
        """Bytes of one token's keys and values in all layers."""
        return len(self.layers) * 2 * self.kv_heads * self.head_dim * self.embedding.element_size()

    def forward(self, ids_T: Tensor, positions_T: Tensor, attend: Attend) -> Tensor:
        """Final hidden states [T, hidden], after the last norm, of flat tokens; `attend` knows which see which."""
        cos, sin = self._angles(positions_T)
        x = F.embedding(ids_T, self.embedding)
        groups = [self.heads, self.kv_heads, self.kv_heads]
        for number, layer in enumerate(self.layers):
            h = self._rms(x, layer.attention_norm)
            h = F.linear(h, layer.qkv, layer.qkv_bias).view(x.shape[0], -1, self.head_dim)
            if layer.q_norm is not None and layer.k_norm is not None:
                q, k, v = torch.split(h, groups, dim=1)
                q, k = _rotate(self._rms(q, layer.q_norm), cos, sin), _rotate(self._rms(k, layer.k_norm), cos, sin)
            else:
                qk, v = torch.split(h, [self.heads + self.kv_heads, self.kv_heads], dim=1)
                q, k = torch.split(_rotate(qk, cos, sin), groups[:2], dim=1)
            x = x + F.linear(attend(number, q, k, v), layer.out, layer.out_bias)
            h = F.linear(self._rms(x, layer.mlp_norm), layer.gate_up, layer.gate_up_bias)
            gate, up = h.chunk(2, dim=-1)
            x = x + F.linear(F.silu(gate) * up, layer.down, layer.down_bias)
        return self._rms(x, self.norm)

    def _rms(self, x: Tensor, weight: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), weight, self.eps)

    def _angles(self, positions_T: Tensor) -> tuple[Tensor, Tensor]:
        """Cosines and signed sines [T, 1, D] from a table that grows by doubling."""
        need = int(positions_T.max()) + 1
        if need > len(self.cos):
            size = min(max(1024, 1 << (need - 1).bit_length()), max(self.context, need))
            table = torch.arange(size, device=self.device)[None]
            cos, sin = self.rotary(self.embedding[:1], table)
            sign = torch.ones(self.head_dim, dtype=self.dtype, device=self.device)
            sign[: self.head_dim // 2] = -1
            self.cos, self.sin = cos[0].contiguous(), (sin[0] * sign).contiguous()
        cos, sin = (table.index_select(0, positions_T).unsqueeze(1) for table in (self.cos, self.sin))
        return cos, sin


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotary embedding; `sin` carries the sign of the first half."""
    return torch.addcmul(x * cos, x.roll(x.shape[-1] // 2, dims=-1), sin)


def _check(config: Any) -> None:
    if config.model_type not in FAMILIES:
        raise InputError(
            f"the engine does not know the architecture {config.model_type!r}",
            remedy=f"it runs {', '.join(FAMILIES)}",
        )
    rope = (config.rope_parameters or {}).get("rope_type", "default")
    if rope not in ROPES:
        raise InputError(
            f"rotary embedding {rope!r} depends on the length", remedy=f"the engine runs {', '.join(ROPES)}"
        )
    if config.hidden_act != "silu":
        raise InputError(f"activation {config.hidden_act!r} is not covered", remedy="the engine runs silu")


def _windows(config: Any) -> list[int | None]:
    """How many last tokens each layer sees; None is all."""
    window = getattr(config, "sliding_window", None)
    kinds = getattr(config, "layer_types", None)
    if kinds is None:
        return [window] * config.num_hidden_layers
    return [window if kind == "sliding_attention" else None for kind in kinds]


def _layer(layer: Any) -> Layer:
    attention, mlp = layer.self_attn, layer.mlp
    inputs = (attention.q_proj, attention.k_proj, attention.v_proj)
    return Layer(
        attention_norm=layer.input_layernorm.weight.detach(),
        qkv=_joined([p.weight for p in inputs]),
        qkv_bias=None if inputs[0].bias is None else _joined([p.bias for p in inputs]),
        q_norm=attention.q_norm.weight.detach() if hasattr(attention, "q_norm") else None,
        k_norm=attention.k_norm.weight.detach() if hasattr(attention, "k_norm") else None,
        out=attention.o_proj.weight.detach(),
        out_bias=None if attention.o_proj.bias is None else attention.o_proj.bias.detach(),
        mlp_norm=layer.post_attention_layernorm.weight.detach(),
        gate_up=_joined([mlp.gate_proj.weight, mlp.up_proj.weight]),
        gate_up_bias=None if mlp.gate_proj.bias is None else _joined([mlp.gate_proj.bias, mlp.up_proj.bias]),
        down=mlp.down_proj.weight.detach(),
        down_bias=None if mlp.down_proj.bias is None else mlp.down_proj.bias.detach(),
    )


def _joined(parts: list[Any]) -> Tensor:
    """One matrix of several parameters, which become views of it."""
    whole = torch.cat([part.detach() for part in parts])
    for part, view in zip(parts, torch.split(whole, [len(part) for part in parts]), strict=True):
        part.data = view
    return whole
