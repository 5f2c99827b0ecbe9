"""A published reward model's directory -> a reward model, with its family recognised from the files or told.

Nothing of the directory is executed: heads are loaded from the weights, and custom code beside them is not run.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from logging import ERROR
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging

from stepmark.errors import InputError
from stepmark.precision import Dtype, device, resolve
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.examples import Encoder, Layout, SolutionEncoder
from stepmark.rewards.families.family import FAMILIES, Chat, Family, Labels, Layers, Pieces, VocabularyMean
from stepmark.rewards.families.outcome import OutcomeReward
from stepmark.rewards.families.text import Text, TextEncoder
from stepmark.rewards.local import MEMORY, LocalReward
from stepmark.rewards.model import SPEC_FILE, LabelTokens, RewardNet, read_spec

DATE = "26 Jul 2024"
"""what a chat template that writes the date is told, lest scores change from day to day: Llama 3.1's own default"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A reward model with what it was read as."""

    reward: LocalReward | OutcomeReward
    family: Family | None
    """None: a model that stepmark trained"""
    told: str
    """one line for the user"""


@dataclass(frozen=True, slots=True)
class Description:
    """How the reward model in a directory is read, and its scores used."""

    told: str
    """one line for the user"""
    aggregate: Aggregation
    """of a solution's step scores: what it was trained for, or what its authors use"""
    threshold: float | None
    """below it a step is taken as wrong; None: the scores have no such place"""


@dataclass(frozen=True, slots=True)
class _Files:
    path: Path
    config: dict[str, Any]
    weights: dict[str, Path]
    """each tensor's file"""
    tokenizer: PreTrainedTokenizerBase


def load(
    path: str | Path,
    family: str | None = None,
    *,
    separator: str | None = None,
    dtype: Dtype = "float32",
    memory: int = MEMORY,
) -> Loaded:
    """The reward model in directory `path`: one that stepmark trained, or a published one of a kind in `FAMILIES`.

    `family` names the kind where the files do not tell it: models whose head is the language model's look like any
    language model. `separator` replaces the family's, for those that were trained with different ones (`trl`, `pure`).

    Raises InputError: the directory is no model, its kind is not known, or it does not fit the kind that was named.
    """
    said, published = _reading(Path(path), family, separator)
    if published is None:
        return Loaded(LocalReward.load(path, dtype=dtype, memory=memory), None, said.told)
    files, chosen = published
    net = RewardNet(*_model_and_head(files, chosen.head, resolve(dtype, torch.bfloat16, device())), chosen.squash)
    net.to(device()).eval()
    local = LocalReward(net, _encoder(files, chosen), None, memory=memory)
    return Loaded(OutcomeReward(local) if chosen.outcome else local, chosen, said.told)


def describe(path: str | Path, family: str | None = None, *, separator: str | None = None) -> Description:
    """What `load` tells of the reward model in a directory, without loading it. Raises InputError as it does, but for
    what the weights alone show."""
    return _reading(Path(path), family, separator)[0]


def _reading(path: Path, family: str | None, separator: str | None) -> tuple[Description, tuple[_Files, Family] | None]:
    """The description, and of a published model its files and how they are read."""
    if (path / SPEC_FILE).is_file():
        if family is not None or separator is not None:
            raise InputError(f"{SPEC_FILE} says how it is read", path=path, remedy="name no family and no separator")
        spec = read_spec(path)
        told = f"{path}: trained by stepmark, {spec.kind}; use: {spec.aggregate}"
        return Description(told, spec.aggregate, 0.5), None
    files = _read(path)
    chosen = _told(files, family) if family is not None else recognise(files)
    if separator is not None:
        if not isinstance(chosen.text, Pieces):
            raise InputError(f"{chosen.name} has no separator to choose", path=path, remedy="leave it out")
        chosen = replace(chosen, text=replace(chosen.text, separator=separator))
    if isinstance(chosen.text, Pieces) and chosen.text.separator is None:
        raise InputError(
            f"its files do not tell what parts the steps for a model of the kind {chosen.name}",
            path=path,
            remedy="give the separator that it was trained with; TRL's own default is the line end, \\n",
        )
    told = f"{path}: {'read' if family is None else 'read, as told,'} as {chosen}"
    return Description(told, chosen.aggregate, chosen.threshold), (files, chosen)


def _read(path: Path) -> _Files:
    config = path / "config.json"
    if not config.is_file():
        raise InputError("no model here: config.json is missing", path=path, remedy="name a model directory")
    index = path / "model.safetensors.index.json"
    weights: dict[str, Path] = {}
    try:
        if index.is_file():
            weights = {name: path / file for name, file in json.loads(index.read_text())["weight_map"].items()}
        elif (path / "model.safetensors").is_file():
            with safe_open(path / "model.safetensors", framework="pt") as tensors:
                weights = dict.fromkeys(tensors.keys(), path / "model.safetensors")
        tokenizer = AutoTokenizer.from_pretrained(path, local_files_only=True, trust_remote_code=False)
        read: dict[str, Any] = json.loads(config.read_text())
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot be read: {error}", path=path, remedy="fetch the model again") from error
    if not weights:
        raise InputError("no model.safetensors here", path=path, remedy="convert the weights to safetensors")
    return _Files(path, read, weights, tokenizer)


def recognise(files: _Files) -> Family:
    """The one family whose marks the files bear. Raises `InputError` where none or several do."""
    fitting = [family for family in FAMILIES.values() if isinstance(family.head, Layers) and not _misfit(files, family)]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        names = " or ".join(family.name for family in fitting)
        raise InputError(f"it may be read as {names}, which the files do not tell", path=files.path, remedy="name one")
    names = ", ".join(FAMILIES)
    raise InputError(
        "the files do not tell how this model judges steps", path=files.path, remedy=f"name its family: {names}"
    )


def _told(files: _Files, name: str) -> Family:
    if name not in FAMILIES:
        raise InputError(f"there is no family {name!r}", path=files.path, remedy=f"one of {', '.join(FAMILIES)}")
    if misfit := _misfit(files, FAMILIES[name]):
        raise InputError(f"it cannot be read as {name}: {misfit}", path=files.path, remedy="name another family")
    return FAMILIES[name]


def _misfit(files: _Files, family: Family) -> str | None:
    """Why the files are not of the family; None: they may be."""
    vocabulary = files.tokenizer.get_vocab()
    if missing := [token for token in family.vocabulary if token not in vocabulary]:
        return f"the tokenizer has no {missing[0]}"
    if missing := [name for name in family.needs if getattr(files.tokenizer, name) is None]:
        return f"the tokenizer names no {missing[0]}"
    if family.model_type not in (None, files.config.get("model_type")):
        return f"its model_type is {files.config.get('model_type')}"
    if family.architectures and not set(family.architectures) & set(files.config.get("architectures") or ()):
        return f"its architecture is {files.config.get('architectures')}"
    if isinstance(family.head, Layers):
        if missing := [name for name in family.head.names if f"{name}.weight" not in files.weights]:
            return f"there are no weights {missing[0]}.weight"
        outputs = _tensor(files, f"{family.head.names[-1]}.weight").shape[0]
        if outputs != family.head.outputs:
            return f"its head has {outputs} outputs"
    if isinstance(family.text, Chat) and not files.tokenizer.chat_template:
        return "the tokenizer has no chat template"
    return None


def _tensor(files: _Files, name: str) -> Tensor:
    with safe_open(files.weights[name], framework="pt") as tensors:
        found: Tensor = tensors.get_tensor(name)
    return found


def _model_and_head(
    files: _Files, head: Labels | Layers | VocabularyMean, dtype: torch.dtype
) -> tuple[PreTrainedModel, Callable[[Tensor], Tensor]]:
    kind: Any = AutoModel if isinstance(head, Layers) else AutoModelForCausalLM
    verbosity = logging.get_verbosity()
    logging.set_verbosity(ERROR)  # it would warn of weights that it does not expect, the head's
    try:
        lm, info = kind.from_pretrained(
            files.path, dtype=dtype, local_files_only=True, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be loaded: {error}", path=files.path, remedy="fetch the model again") from error
    finally:
        logging.set_verbosity(verbosity)
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"]))
        raise InputError(f"weights are missing: {missing}", path=files.path, remedy="fetch the model again")
    match head:
        case Labels():
            return lm, LabelTokens(lm, _label_ids(files, head))
        case VocabularyMean():
            weight_D = lm.get_output_embeddings().weight.detach().float().mean(0)
            return lm, lambda hidden_K_D: (hidden_K_D @ weight_D.to(hidden_K_D.device))[:, None]
        case Layers():
            return lm, _layers(files, head)


def _label_ids(files: _Files, labels: Labels) -> tuple[int, int]:
    plus, minus = (files.tokenizer.encode(text, add_special_tokens=False)[-1] for text in (labels.plus, labels.minus))
    if plus == minus or files.tokenizer.unk_token_id in (plus, minus):
        raise InputError(
            f"the tokenizer has no tokens for {labels.plus!r} and {labels.minus!r}",
            path=files.path,
            remedy="put the model's own tokenizer beside it",
        )
    return plus, minus


def _layers(files: _Files, head: Layers) -> nn.Module:
    """The layers in float32, from the weight files."""
    modules: list[nn.Module] = []
    for name in head.names:
        weight = _tensor(files, f"{name}.weight").float()
        biased = f"{name}.bias" in files.weights
        layer = nn.Linear(weight.shape[1], weight.shape[0], bias=biased)
        state = {"weight": weight} | ({"bias": _tensor(files, f"{name}.bias").float()} if biased else {})
        layer.load_state_dict(state)
        modules += [nn.ReLU(), layer] if modules else [layer]
    return nn.Sequential(*modules)


def _encoder(files: _Files, family: Family) -> SolutionEncoder:
    limits = [family.max_tokens, files.config.get("max_position_embeddings")]
    if not any(limits):
        raise InputError(
            "config.json does not say how many positions the model has",
            path=files.path,
            remedy="add max_position_embeddings",
        )
    limit = min(one for one in limits if one)
    match family.text:
        case Pieces(separator, opening):
            assert separator is not None  # see `_reading`
            return Encoder(files.tokenizer, Layout(max_tokens=limit, separator=separator, opening=opening))
        case Chat(system):
            return TextEncoder(files.tokenizer, _chat(files, system), limit)
        case Text() as text:
            return TextEncoder(files.tokenizer, text, limit)


def _chat(files: _Files, system: str | None) -> Text:
    """The tokenizer's chat template, taken apart at a question and an answer."""
    question, answer = "QUESTION-0", "ANSWER-0"
    messages = [] if system is None else [{"role": "system", "content": system}]
    messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    written = str(files.tokenizer.apply_chat_template(messages, tokenize=False, date_string=DATE))
    if written.count(question) != 1 or written.count(answer) != 1:
        raise InputError(
            "the chat template does not write question and answer once each",
            path=files.path,
            remedy="put the model's own tokenizer beside it",
        )
    opening, rest = written.split(question)
    middle, closing = rest.split(answer)
    if not closing:
        raise InputError(
            "the chat template does not close an answer: no token follows it",
            path=files.path,
            remedy="put the model's own tokenizer beside it",
        )
    return Text(opening=f"{opening}{{question}}{middle}", marker=closing, special_tokens=False)
