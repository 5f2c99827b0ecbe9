"""A causal language model with a head that judges steps, and the directory it is kept in.

A reward model's directory holds all that scoring needs: the weights and the tokenizer as Hugging Face saves them,
`reward.json` (`Spec`), and `head.safetensors` where the head is ours.
"""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from stepmark.errors import InputError
from stepmark.precision import device
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.examples import IGNORED, Classes, Encoded, Kind, Layout, parts, single_token
from stepmark.rewards.settings import Head, Loss

SPEC_FILE = "reward.json"
HEAD_FILE = "head.safetensors"

Squash = Callable[[Tensor], Tensor]
"""logits [K, outputs] of a head -> scores [K]"""


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
    classes: Classes = 2
    zero: str | None = None
    """the token of a neutral step (head `label_tokens`, three classes)"""
    neutral: Literal["right", "wrong"] = "right"
    """with three classes: whether the probability of a neutral step is part of the score"""


@dataclass(frozen=True)
class LabelTokens:
    """The logits of label tokens, read from the language model's output embeddings.

    Of two labels it is the difference of their logits, so that the score is P(plus) / (P(plus) + P(minus)) and the loss
    a cross-entropy over the candidates, not over the whole vocabulary as in Let's Verify and Math-Shepherd: what is
    trained is what is scored, and targets may be soft. A model that rescales its logits afterwards (Gemma 2) is read
    without that.
    """

    lm: PreTrainedModel
    ids: tuple[int, ...]
    """plus and minus; or good, neutral, wrong"""

    def __call__(self, hidden_K_D: Tensor) -> Tensor:
        output: Any = self.lm.get_output_embeddings()  # type: ignore[no-untyped-call]
        weight_C_D = output.weight[list(self.ids)].float()
        bias_C = weight_C_D.new_zeros(len(self.ids)) if output.bias is None else output.bias[list(self.ids)].float()
        if len(self.ids) == 2:
            weight_C_D, bias_C = weight_C_D[:1] - weight_C_D[1:], bias_C[:1] - bias_C[1:]
        logits_K_C: Tensor = hidden_K_D @ weight_C_D.T + bias_C
        return logits_K_C


class Likelihood(nn.Module):
    """A linear layer on the hidden state, and beside it, weighted, how far the least expected token of what is judged
    lies below the token that the model itself would have written there.

    A causal model forms its idea of the next token in its last layers, and only tokens after that one can compare the
    two: with few layers left for it, a head on hidden states alone does not see a wrong digit. The model's own surprise
    does, and being trained with the rest it becomes a detector of what is wrong. A token's margin is the logarithm of
    its probability over that of the likeliest one: where a solution may go on in several ways, each of them is
    unlikely, and none is a surprise. Related: rewards that are a model's log-probabilities (Yuan et al. 2024, arXiv
    2412.01981), which have no other part and need a reference model.
    """

    def __init__(self, lm: PreTrainedModel) -> None:
        super().__init__()
        self.lm = (lm,)  # not a part of this module: it is saved as a model of its own
        self.linear = nn.Linear(lm.config.get_text_config().hidden_size, 1)
        self.weight = nn.Parameter(torch.ones(1))  # FSDP knows no scalars
        nn.init.zeros_(self.linear.weight)
        nn.init.constant_(self.linear.bias, 2.0)  # so that a token at e^-2 of the likeliest makes a new head undecided

    def forward(self, hidden_K_D: Tensor) -> Tensor:
        """The part of the logits [K, 1] that comes from the hidden states."""
        logits_K_1: Tensor = self.linear(hidden_K_D)
        return logits_K_1

    def margins(self, hidden_K_D: Tensor, following_K: Tensor) -> Tensor:
        """The margins [K] of the tokens that follow hidden states, 0 or less."""
        output: Any = self.lm[0].get_output_embeddings()  # type: ignore[no-untyped-call]
        logits_K_V = output(hidden_K_D.to(output.weight.dtype)).float()
        margins_K: Tensor = logits_K_V.gather(1, following_K[:, None])[:, 0] - logits_K_V.amax(1)
        return margins_K

    def least(self, hidden_B_T_D: Tensor, input_ids_B_T: Tensor, parts_B_T: Tensor) -> Tensor:
        """The least margin [B, T] so far within each token's part."""
        inside_B_T = parts_B_T > 0
        later_B_T = inside_B_T[:, 1:]
        margins_B_T = hidden_B_T_D.new_zeros(input_ids_B_T.shape, dtype=torch.float32)
        margins_B_T[inside_B_T] = self.margins(hidden_B_T_D[:, :-1][later_B_T], input_ids_B_T[:, 1:][later_B_T])
        return running_least(margins_B_T, parts_B_T)


def running_least(values_B_T: Tensor, parts_B_T: Tensor) -> Tensor:
    """The least value so far within a token's part; parts are numbered upwards, values lie above -10,000."""
    shift_B_T = 1e4 * parts_B_T.double()
    return ((values_B_T - shift_B_T).cummin(dim=1).values + shift_B_T).float()


def probability(logits_K_1: Tensor) -> Tensor:
    """The sigmoid of one logit: the probability that the step is right."""
    return logits_K_1[:, 0].sigmoid()


def good(logits_K_3: Tensor) -> Tensor:
    """P(good) of the classes good, neutral, wrong."""
    return logits_K_3.softmax(-1)[:, 0]


def good_or_neutral(logits_K_3: Tensor) -> Tensor:
    """P(good) + P(neutral) of the classes good, neutral, wrong; Let's Verify's score."""
    return logits_K_3.softmax(-1)[:, :2].sum(-1)


def squashed(logits_K_C: Tensor, squash: Squash) -> Tensor:
    """The scores [K], in double precision so that sure ones keep their order; NaN where a logit is not finite."""
    logits_K_C = logits_K_C.double()
    return squash(logits_K_C).where(logits_K_C.isfinite().all(-1), torch.nan)


class RewardNet(nn.Module):
    """A model whose final hidden states at some tokens are turned into scores by a head.

    `head` maps hidden states [K, D] (float32) to logits [K, outputs], and `score` those to K scores: nothing else of
    a reward model lies between the hidden state at a token and its score. There is no attention mask: sequences are
    padded on the right, and a causal model looks to the left.
    """

    accepts_loss_kwargs = True
    """tells Trainer that `forward` takes `num_items_in_batch`"""

    def __init__(
        self,
        lm: PreTrainedModel,
        head: Callable[[Tensor], Tensor],
        squash: Squash,
        loss: Loss = "cross_entropy",
        kind: Kind = "prm",
    ) -> None:
        """`lm` is a causal language model or its backbone."""
        super().__init__()
        self.lm = lm
        self._no_split_modules = lm._no_split_modules
        """the layers of which accelerate keeps each whole, where it spreads the net over processes (FSDP)"""
        self.kind = kind
        self.head = head
        self._squash = squash
        self._loss = loss

    def logits(self, input_ids_B_T: Tensor, where_B_T: Tensor, parts_B_T: Tensor) -> Tensor:
        """The logits [K, outputs] (float32) at the tokens of a boolean mask, in its row-major order. `parts_B_T` is
        what `parts` says of each token."""
        hidden_B_T_D: Tensor = self.lm.base_model(input_ids=input_ids_B_T, use_cache=False).last_hidden_state
        with torch.autocast(input_ids_B_T.device.type, enabled=False):  # the head is cheap: full precision always
            logits_K_C = self.head(hidden_B_T_D[where_B_T].float())
            if isinstance(self.head, Likelihood):
                least_B_T = self.head.least(hidden_B_T_D, input_ids_B_T, parts_B_T)
                logits_K_C = logits_K_C + self.head.weight * least_B_T[where_B_T][:, None]
            return logits_K_C

    def score(self, logits_K_C: Tensor) -> Tensor:
        """The scores [K], as `squashed`."""
        return squashed(logits_K_C, self._squash)

    def losses(self, logits_K_C: Tensor, targets_K: Tensor) -> Tensor:
        """The loss of each token: cross-entropy with the target probability or, of three classes, the rating; or the
        squared error of the score."""
        if logits_K_C.shape[1] == 3:
            return cross_entropy(logits_K_C, (1 - targets_K).long(), reduction="none")
        if self._loss == "squared_error":
            return (probability(logits_K_C) - targets_K).square()
        return binary_cross_entropy_with_logits(logits_K_C[:, 0], targets_K, reduction="none")

    def forward(
        self, input_ids: Tensor, labels: Tensor, parts: Tensor, num_items_in_batch: Tensor | int | None = None
    ) -> dict[str, Tensor]:
        """The mean loss over the tokens whose label is not `IGNORED`; over `num_items_in_batch` where they are only
        a part of an update's, so that accumulated gradients are those of the whole."""
        where_B_T = labels != IGNORED
        losses_K = self.losses(self.logits(input_ids, where_B_T, parts), labels[where_B_T])
        return {"loss": losses_K.sum() / (len(losses_K) if num_items_in_batch is None else num_items_in_batch)}

    @torch.no_grad()
    def read(self, batch: Sequence[Encoded]) -> list[Tensor]:
        """The logits [steps, outputs] of every solution of a batch."""
        input_ids_B_T = pad_sequence([torch.tensor(encoded.ids_T) for encoded in batch], batch_first=True)
        where_B_T = torch.zeros_like(input_ids_B_T, dtype=torch.bool)
        for row, encoded in enumerate(batch):
            where_B_T[row, list(encoded.judged_S)] = True
        parts_B_T = pad_sequence([torch.tensor(parts(encoded, self.kind)) for encoded in batch], batch_first=True)
        logits_K_C = self.logits(*(part.to(self.lm.device) for part in (input_ids_B_T, where_B_T, parts_B_T)))
        return list(torch.split(logits_K_C, [len(encoded.judged_S) for encoded in batch]))


def build(lm: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, spec: Spec) -> RewardNet:
    """The net that a spec describes; a new head is drawn from the training's seed."""
    positions = getattr(lm.config.get_text_config(), "max_position_embeddings", spec.layout.max_tokens)
    if spec.layout.max_tokens > positions:
        raise InputError(
            f"max_tokens is {spec.layout.max_tokens}, but the model has {positions} positions",
            remedy="lower max_tokens",
        )
    outputs = 1 if spec.classes == 2 else 3
    squash = probability if spec.classes == 2 else {"right": good_or_neutral, "wrong": good}[spec.neutral]
    head: Callable[[Tensor], Tensor]
    if spec.head == "label_tokens":
        labels = (spec.plus, spec.minus) if spec.zero is None else (spec.plus, spec.zero, spec.minus)
        if len(labels) != spec.classes:
            raise InputError(
                f"{len(labels)} label tokens for {spec.classes} classes", remedy="name the third in `zero`"
            )
        head = LabelTokens(lm, tuple(single_token(tokenizer, label) for label in labels))
    elif spec.head == "likelihood":
        head = Likelihood(lm)
    else:
        head = new_head(lm.config.get_text_config().hidden_size, outputs, spec.head, spec.training.get("seed", 0))
    return RewardNet(lm, head, squash, spec.training.get("loss", "cross_entropy"), spec.kind)


def new_head(size: int, outputs: int, kind: Literal["linear", "two_layer"], seed: int) -> nn.Module:
    """A linear layer, or two with a ReLU between as Qwen2.5-Math-PRM has, drawn from the seed."""
    generator = torch.Generator().manual_seed(seed)
    layers = [nn.Linear(size, outputs)] if kind == "linear" else [nn.Linear(size, size), nn.Linear(size, outputs)]
    for layer in layers:
        with torch.no_grad():
            layer.weight.normal_(std=size**-0.5, generator=generator)
            layer.bias.zero_()
    return layers[0] if kind == "linear" else nn.Sequential(layers[0], nn.ReLU(), layers[1])


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
    """Writes the directory; it appears complete or not at all. Raises `InputError` where something is there already."""
    if path.exists():
        raise InputError("there is something here already", path=path, remedy="name a directory that does not exist")
    partial = path.with_name(path.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    net.lm.save_pretrained(partial)
    tokenizer.save_pretrained(partial)
    if isinstance(net.head, nn.Module):
        save_file({name: value.contiguous() for name, value in net.head.state_dict().items()}, partial / HEAD_FILE)
    (partial / SPEC_FILE).write_bytes(msgspec.json.format(msgspec.json.encode(spec)) + b"\n")
    partial.replace(path)


def read_spec(path: str | Path) -> Spec:
    """The description of the reward model in a directory that `save` wrote. Raises `InputError` where there is none."""
    path = Path(path)
    file = path / SPEC_FILE
    if not file.is_file():
        raise InputError(
            f"no reward model here: {SPEC_FILE} is missing", path=path, remedy="name a directory that training wrote"
        )
    try:
        return msgspec.json.decode(file.read_bytes(), type=Spec)
    except msgspec.MsgspecError as error:
        raise InputError(f"not the description of a reward model: {error}", path=file, remedy="train again") from error


def load(path: str | Path, dtype: torch.dtype = torch.float32) -> tuple[RewardNet, PreTrainedTokenizerBase, Spec]:
    """Reads what `save` wrote. Raises `InputError` naming what is missing or broken."""
    path, spec = Path(path), read_spec(path)
    lm, tokenizer = load_lm(path, dtype)
    net = build(lm, tokenizer, spec)
    if isinstance(net.head, nn.Module):
        head = path / HEAD_FILE
        if not head.is_file():
            raise InputError(f"the head is missing: no {HEAD_FILE}", path=path, remedy="train the model again")
        net.head.load_state_dict(load_file(head))
    return net.to(device()).eval(), tokenizer, spec
