"""How each published kind of reward model is read: one entry a kind, and nothing about it elsewhere.

An entry says how the text is written, where in it a step's score is read, which weights are the head, and what makes a
score of the head's logits. Every entry follows the authors' own inference code; where published readers of the same
model differ, the entry says which is followed.
"""

from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.families.text import Text
from stepmark.rewards.model import Squash, probability


@dataclass(frozen=True, slots=True)
class Pieces:
    """A text whose question, steps and separators are tokenised one by one; a step is read at its separator's last
    token. The begin token stands first where the tokenizer has one."""

    separator: str | None
    """None: models of the kind were trained with different ones, and their files do not tell which"""
    opening: str
    """{question} is replaced"""


@dataclass(frozen=True, slots=True)
class Chat:
    """The tokenizer's own chat template, whose answer is the whole solution; read at the last token."""

    system: str | None = None


@dataclass(frozen=True, slots=True)
class Labels:
    """Tokens of the language model, whose logits are the head's outputs: the last token of each text."""

    plus: str
    minus: str


@dataclass(frozen=True, slots=True)
class Layers:
    """Linear layers of the weight files, a ReLU between two; a layer may lack its bias."""

    names: tuple[str, ...]
    outputs: int


@dataclass(frozen=True, slots=True)
class VocabularyMean:
    """The mean of the logits of all tokens of the language model."""


Needs = Literal["bos_token", "pad_token"]


@dataclass(frozen=True, slots=True)
class Family:
    """One published kind."""

    name: str
    models: str
    """which models are read so"""
    text: Text | Pieces | Chat
    head: Labels | Layers | VocabularyMean
    squash: Squash
    """the head's logits -> scores"""
    reading: str
    """the score in words"""
    aggregate: Aggregation
    """the aggregation that the authors use"""
    architectures: tuple[str, ...] = ()
    """what `architectures` in config.json says; with the head's weights it tells the family"""
    model_type: str | None = None
    """what `model_type` says"""
    vocabulary: tuple[str, ...] = ()
    """tokens that the tokenizer must have"""
    needs: tuple[Needs, ...] = ()
    """special tokens that the tokenizer must name"""
    max_tokens: int | None = None
    """a limit below the number of positions in config.json"""
    threshold: float | None = 0.5
    """below it a step is taken as wrong; None: the scores have no such place"""
    outcome: bool = False
    """judges a whole solution: the score after a step is that of the solution up to it, in a sequence of its own"""

    def __str__(self) -> str:
        match self.text:
            case Text():
                where: str = self.text.place
            case Pieces():
                where = f"separator {self.text.separator!r}"
            case Chat():
                where = "the end"
        return f"{self.name} ({self.models}): {self.reading}, read at: {where}; use: {self.aggregate}"


def first(logits_K_C: Tensor) -> Tensor:
    """P(first class)."""
    return logits_K_C.softmax(-1)[:, 0]


def second(logits_K_C: Tensor) -> Tensor:
    """P(second class)."""
    return logits_K_C.softmax(-1)[:, 1]


def margin(logits_K_2: Tensor) -> Tensor:
    """P(second class) - P(first class), in [-1, 1]."""
    probability_K_2 = logits_K_2.softmax(-1)
    return probability_K_2[:, 1] - probability_K_2[:, 0]


def validity(logits_K_3: Tensor) -> Tensor:
    """P(neutral) + P(positive) of negative, neutral, positive."""
    return logits_K_3.softmax(-1)[:, 1:].sum(-1)


def raw(logits_K_1: Tensor) -> Tensor:
    """The logit itself, unbounded."""
    return logits_K_1[:, 0]


QWEN_SYSTEM = r"Please reason step by step, and put your final answer within \boxed{}."

MATH_SHEPHERD = Family(
    name="math-shepherd",
    models="peiyi9979/math-shepherd-mistral-7b-prm",
    text=Text(opening="{question} ", marker=" ки", between="\n", numbered=True),
    head=Labels("+", "-"),
    squash=probability,
    reading="P(+) of + and -",
    aggregate="min",
)

RLHFLOW = Family(
    name="rlhflow",
    models="RLHFlow/Llama3.1-8B-PRM-Mistral-Data, -Deepseek-Data",
    # Llama 3.1's chat template with its own default date, which the template would otherwise replace by today's
    text=Text(
        opening="<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nCutting Knowledge Date: December 2023\n"
        "Today Date: 26 Jul 2024\n\n<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n{question} ",
        closing="<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n",
        marker="+",
        between="<|eot_id|><|start_header_id|>user<|end_header_id|>\n\n",
        place="before",
        trimmed=True,
        special_tokens=False,
    ),
    head=Labels("+", "-"),
    squash=probability,
    reading="P(+) of + and -, where the model is about to write it",
    aggregate="mean",
    vocabulary=("<|eot_id|>", "<|start_header_id|>"),
)

SKYWORK_O1 = Family(
    name="skywork-o1",
    models="Skywork/Skywork-o1-Open-PRM-Qwen-2.5-1.5B, -7B",
    text=Pieces(opening="{question}\n", separator="\n"),
    head=Layers(("v_head.summary",), 1),
    squash=probability,
    reading="sigmoid of the value",
    aggregate="mean",
    architectures=("Qwen2ForPrmModel",),
    needs=("bos_token",),
)

QWEN_PRM = Family(
    name="qwen-math-prm",
    models="Qwen/Qwen2.5-Math-PRM-7B, -72B, Qwen/Qwen2.5-Math-7B-PRM800K",
    text=Text(
        opening=f"<|im_start|>system\n{QWEN_SYSTEM}<|im_end|>\n<|im_start|>user\n{{question}}<|im_end|>\n"
        "<|im_start|>assistant\n",
        marker="<extra_0>",
        special_tokens=False,
    ),
    head=Layers(("score.0", "score.2"), 2),
    squash=second,
    reading="P(right)",
    aggregate="product",
    architectures=("Qwen2ForProcessRewardModel",),
    vocabulary=("<extra_0>", "<|im_start|>"),
    max_tokens=4096,
)

ER_PRM = Family(
    name="er-prm",
    models="hanningzhang/Llama3.1-Math-PRM (ER-PRM)",
    text=Text(opening="{question} ", marker=" ки", numbered=True),
    head=Labels(" +", " -"),
    squash=probability,
    reading="P(+) of + and -",
    aggregate="min",
)

PQM = Family(
    name="pqm",
    models="Process Q-value models (Li & Li 2024, arXiv 2410.11287)",
    text=Text(
        opening="Below is an instruction that describes a task.\nWrite a response that appropriately completes the "
        "request.\n\n### Instruction:\n{question}\n\n### Response: Let's think step by step\n",
        marker=" [PRM]",
        between="\n",
        numbered=True,
        special_tokens=False,
    ),
    head=Layers(("v_head.summary",), 1),
    squash=raw,
    reading="the Q-value, unbounded",
    threshold=None,
    aggregate="min",
    vocabulary=("[PRM]",),
)

LLEMMA = Family(
    name="llemma",
    models="ScalableMath/llemma-7b-prm-prm800k-level-1to3-hf and its relatives",
    text=Text(opening="# Question\n\n{question}\n\n# Solution\n\n", marker="\n\n", place="marker's first token"),
    head=VocabularyMean(),
    squash=probability,
    reading="sigmoid of the mean logit",
    aggregate="last",
)

TRL = Family(
    name="trl",
    models="models of TRL's PRMTrainer",
    text=Pieces(opening="{question}", separator=None),
    head=Layers(("score",), 2),
    squash=second,
    reading="P(right)",
    aggregate="min",
    architectures=("LlamaForTokenClassification", "MistralForTokenClassification", "Qwen2ForTokenClassification"),
)

PURE = replace(
    TRL,
    name="pure",
    models="jinachris/PURE-PRM-7B; the separator is that of its authors' evaluation",
    text=Pieces(opening="{question}", separator="\n"),
    threshold=0.0,
    squash=margin,
    reading="P(right) - P(wrong), in [-1, 1]",
    architectures=("Qwen2ForTokenClassification",),
)

REASONEVAL_TEXT = Text(
    opening="Question:\n{question}\nAnswer:\nLet's think step by step.\n",
    marker="{pad}",
    keep_marker=False,
    place="before",
)

REASONEVAL_34B = Family(
    name="reasoneval-34b",
    models="GAIR/ReasonEval-34B",
    text=REASONEVAL_TEXT,
    head=Layers(("score_head",), 3),
    squash=validity,
    reading="validity: P(neutral) + P(positive)",
    aggregate="min",
    model_type="llama",
    needs=("pad_token",),
)

REASONEVAL_7B = replace(
    REASONEVAL_34B,
    name="reasoneval-7b",
    models="GAIR/ReasonEval-7B; as its authors' script reads it, one token before the last of a step",
    # the script counts the begin token among the separators that it removes, and then puts it back
    text=replace(REASONEVAL_TEXT, place="two before"),
    model_type="mistral",
)

QWEN_RM = Family(
    name="qwen-math-rm",
    models="Qwen/Qwen2.5-Math-RM-72B",
    text=Chat(system=QWEN_SYSTEM),
    head=Layers(("score.0", "score.2"), 1),
    squash=raw,
    reading="the reward of the solution so far, unbounded",
    aggregate="last",
    threshold=None,
    architectures=("Qwen2ForRewardModel",),
    outcome=True,
)

SEQUENCE_CLASSIFIER = Family(
    name="sequence-classifier",
    models="outcome reward models with one output and a chat template",
    text=Chat(),
    head=Layers(("score",), 1),
    squash=raw,
    reading="the reward of the solution so far, unbounded",
    aggregate="last",
    threshold=None,
    architectures=(
        "LlamaForSequenceClassification",
        "MistralForSequenceClassification",
        "Qwen2ForSequenceClassification",
        "Qwen3ForSequenceClassification",
    ),
    outcome=True,
)

FAMILIES = {
    family.name: family
    for family in (
        MATH_SHEPHERD, RLHFLOW, SKYWORK_O1, QWEN_PRM, ER_PRM, PQM, LLEMMA, TRL, PURE, REASONEVAL_7B, REASONEVAL_34B,
        QWEN_RM, SEQUENCE_CLASSIFIER,
    )
}  # fmt: skip
"""every entry by its name"""
