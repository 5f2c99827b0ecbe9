"""A causal language model with a head that judges steps, and the directory it is kept in.

A reward model's directory holds all that scoring needs: the weights and the tokenizer as Hugging Face saves them,
`reward.json` (`Spec`), and `head.safetensors` where the head is ours.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from stepmark.errors import InputError
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.examples import IGNORED, Encoded, Kind, Layout, single_token
from stepmark.rewards.settings import Head

SPEC_FILE = "reward.json"
HEAD_FILE = "head.safetensors"


@dataclass(frozen=True, slots=True)
class Spec:
    """What `reward.json` says: how the model is read, and where it comes from."""

    kind: Kind
    head: Head
    layout: Layout
    plus: str
    """the token of a right step (head `label_tokens`)"""
    minus: str
    """the token of a wrong step"""
    aggregate: Aggregation
    """the aggregation recommended for this model"""
    label_source: str
    stepmark: str
    """version that trained it"""
    training: dict[str, Any]
    """settings of the training"""


class RewardNet(nn.Module):
    """One logit per judged token; its sigmoid is the score, the probability that the step is right.

    With label tokens the logit is the difference of the two tokens' logits, so that the score is
    P(plus) / (P(plus) + P(minus)) and the loss a cross-entropy over the two candidates, not over the whole vocabulary
    as in Let's Verify and Math-Shepherd: what is trained is what is scored, and targets may be soft. The output
    embeddings are read directly, so that a model that rescales its logits afterwards (Gemma 2) is read without that.

    There is no attention mask: sequences are padded on the right, and a causal model looks to the left.
    """

    def __init__(self, lm: PreTrainedModel, label_ids: tuple[int, int] | None, seed: int = 0) -> None:
        """`label_ids`: plus and minus; None: a linear head, drawn from `seed`."""
        super().__init__()
        self.lm = lm
        self.label_ids = label_ids
        if label_ids is None:
            size = lm.config.get_text_config().hidden_size
            self.linear = nn.Linear(size, 1)
            with torch.no_grad():
                self.linear.weight.normal_(std=size**-0.5, generator=torch.Generator().manual_seed(seed))
                self.linear.bias.zero_()

    def logits(self, input_ids_B_T: Tensor, where_B_T: Tensor) -> Tensor:
        """The logits (float32) at the tokens of a boolean mask, in its row-major order."""
        hidden_B_T_D: Tensor = self.lm.base_model(input_ids=input_ids_B_T, use_cache=False).last_hidden_state
        with torch.autocast(input_ids_B_T.device.type, enabled=False):  # the head is cheap: full precision always
            hidden_K_D = hidden_B_T_D[where_B_T].float()
            weight_D, bias = self._direction()
            return hidden_K_D @ weight_D + bias

    def _direction(self) -> tuple[Tensor, Tensor | float]:
        if self.label_ids is None:
            return self.linear.weight[0], self.linear.bias[0]
        plus, minus = self.label_ids
        output: Any = self.lm.get_output_embeddings()  # type: ignore[no-untyped-call]
        bias = 0.0 if output.bias is None else output.bias[plus].float() - output.bias[minus].float()
        return output.weight[plus].float() - output.weight[minus].float(), bias

    def forward(self, input_ids: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Mean binary cross-entropy over the tokens whose label is not `IGNORED`."""
        where_B_T = labels != IGNORED
        logit_K = self.logits(input_ids, where_B_T)
        return {"loss": binary_cross_entropy_with_logits(logit_K, labels[where_B_T])}

    @torch.inference_mode()
    def judge(self, batch: Sequence[Encoded]) -> list[list[float]]:
        """The logit of every step of every solution of a batch."""
        input_ids_B_T = pad_sequence([torch.tensor(encoded.ids_T) for encoded in batch], batch_first=True)
        where_B_T = torch.zeros_like(input_ids_B_T, dtype=torch.bool)
        for row, encoded in enumerate(batch):
            where_B_T[row, list(encoded.judged_S)] = True
        logits_K = self.logits(input_ids_B_T.to(self.lm.device), where_B_T.to(self.lm.device))
        logits = iter(logits_K.tolist())
        return [list(islice(logits, len(encoded.judged_S))) for encoded in batch]


def build(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: Spec) -> RewardNet:
    """The net that a spec describes; a linear head is drawn anew from the training's seed."""
    positions = getattr(lm.config.get_text_config(), "max_position_embeddings", spec.layout.max_tokens)
    if spec.layout.max_tokens > positions:
        raise InputError(
            f"max_tokens is {spec.layout.max_tokens}, but the model has {positions} positions",
            remedy="lower max_tokens",
        )
    label_ids = None
    if spec.head == "label_tokens":
        label_ids = single_token(tokenizer, spec.plus), single_token(tokenizer, spec.minus)
    return RewardNet(lm, label_ids, seed=spec.training.get("seed", 0))


def load_lm(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A causal language model and its tokenizer from a directory. Raises `InputError` where a part is missing, for
    transformers would draw missing weights at random."""
    path = Path(path)
    if not (path / "config.json").is_file():
        raise InputError(
            "no model here: config.json is missing",
            path=path,
            remedy="name the directory of a Hugging Face model; `hf download` fetches one",
        )
    if not (path / "tokenizer_config.json").is_file():
        raise InputError(
            "no tokenizer here: tokenizer_config.json is missing",
            path=path,
            remedy="save the model's own tokenizer beside it with tokenizer.save_pretrained",
        )
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True)
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            path, dtype=dtype, local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot be loaded: {error}", path=path, remedy="save the model and tokenizer again"
        ) from error
    lm, info = loaded
    if info["missing_keys"]:
        raise InputError(
            f"weights are missing: {', '.join(sorted(info['missing_keys']))}", path=path, remedy="save the model again"
        )
    known = lm.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        raise InputError(
            f"the tokenizer has {len(tokenizer)} tokens and the model {known}",
            path=path,
            remedy="put the model's own tokenizer beside it",
        )
    return lm, tokenizer


def save(net: RewardNet, tokenizer: PreTrainedTokenizerBase, spec: Spec, path: Path) -> None:
    """Writes the directory; it appears complete or not at all."""
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    net.lm.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if net.label_ids is None:
        save_file({name: value.contiguous() for name, value in net.linear.state_dict().items()}, partial / HEAD_FILE)
    (partial / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(spec)) + b"\n")
    partial.replace(path)


def load(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[RewardNet, PreTrainedTokenizerBase, Spec]:
    """Reads what `save` wrote. Raises `InputError` naming what is missing or broken."""
    path = Path(path)
    file = path / SPEC_FILE
    if not file.is_file():
        raise InputError(
            f"no reward model here: {SPEC_FILE} is missing", path=path, remedy="name a directory that training wrote"
        )
    try:
        spec = msgspec.json.decode(file.read_bytes(), type=Spec)
    except msgspec.MsgspecError as error:
        raise InputError(f"not the description of a reward model: {error}", path=file) from error
    lm, tokenizer = load_lm(path, dtype)
    net = build(lm, tokenizer, spec)
    if net.label_ids is None:
        head = path / HEAD_FILE
        if not head.is_file():
            raise InputError(f"the linear head is missing: no {HEAD_FILE}", path=path, remedy="train the model again")
        net.linear.load_state_dict(load_file(head))
    return net.to("cuda" if torch.cuda.is_available() else "cpu").eval(), tokenizer, spec
