"""FLOPs of sampling and scoring, from a model's sizes and the cost of a request.

A forward pass of one token takes 2 operations per weight that it is multiplied with, and 4 per earlier token, layer and
attention dimension (a product and a sum for its score, and for its value). Kaplan et al. 2020 (arXiv 2001.08361,
section 2.1) count the same, with the longest context for every token; here each token attends to those before it, and
itself. Embedding look-ups, norms and softmax are left out, as there. The head is counted for generated tokens only: a
prompt needs it once.
"""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from stepmark.errors import InputError
from stepmark.types import Cost

GATED = ("gemma", "llama", "mistral", "qwen2", "qwen3")
"""families whose blocks are four attention matrices and three of a gated feed-forward layer"""


@dataclass(frozen=True, slots=True)
class ModelSize:
    """What the FLOPs of a decoder depend on."""

    body: int
    """weights of the blocks' matrices: each multiplies every token"""
    head: int
    """weights of the matrix from hidden states to logits"""
    layers: int
    width: int
    """attention heads times their dimension"""

    @classmethod
    def of(cls, config: dict[str, Any]) -> "ModelSize":
        """The sizes that a Hugging Face `config.json` of a family in `GATED` says. Raises InputError for another family
        or a field that is missing."""
        family = str(config.get("model_type", "unknown"))
        if not family.startswith(GATED) or "moe" in family:
            raise InputError(
                f"the FLOPs of a model of type {family!r} are not known", remedy=f"known: {', '.join(GATED)}"
            )
        try:
            hidden, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
            heads = int(config["num_attention_heads"])
            feed, vocabulary = int(config["intermediate_size"]), int(config["vocab_size"])
        except KeyError as error:
            raise InputError(f"the model's config has no {error}", remedy="give the config.json of the model") from None
        size = int(config.get("head_dim") or hidden // heads)
        shared = int(config.get("num_key_value_heads") or heads)
        attention = 2 * hidden * heads * size + 2 * hidden * shared * size
        return cls(layers * (attention + 3 * hidden * feed), hidden * vocabulary, layers, heads * size)

    @classmethod
    def read(cls, directory: str | PathLike[str]) -> "ModelSize":
        """The sizes of the model in a directory; errors as `of`, with the file named."""
        path = Path(directory) / "config.json"
        try:
            return cls.of(json.loads(path.read_bytes()))
        except OSError as error:
            raise InputError(f"cannot be read: {error.strerror}", path=path, remedy="give a model directory") from error
        except ValueError as error:
            raise InputError(f"not JSON: {error}", path=path) from error
        except InputError as error:
            raise InputError(error.problem, path=path, remedy=error.remedy) from None


def flops(size: ModelSize, cost: Cost) -> float:
    """The operations of one request: a completion's, or a scoring's. Of a request, because attention depends on how
    many tokens stood before; sum the results, not the costs.

    Tokens from a cache are attended to and not computed. Each generated token is charged one pass, the last one too,
    which is never fed: the convention of 2 N per token.
    """
    computed = cost.prompt + cost.generated + cost.scored
    attended = computed * cost.cached + computed * (computed + 1) // 2
    return float(2 * size.body * computed + 2 * size.head * cost.generated + 4 * size.layers * size.width * attended)
