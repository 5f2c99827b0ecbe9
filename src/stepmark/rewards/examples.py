"""A solution as token ids, and the token at which each of its steps is judged. Nothing else in stepmark decides this:
training puts its targets where `Encoder.encode` says, and scoring reads there.

    [bos] question \\n  step 1 \\n [marker]  step 2 \\n [marker]  ...
                              ^ or ^ here       ^ or ^ here

The pieces (question, each step, separator) are tokenised one by one and the ids put together. A tokenizer may merge
characters across a border, so that encoding the whole text would give other ids at the step ends, and other ids again
when one more step follows; pieces always get the ids they were trained with (evaluating models so trained on whole
strings costs several points of F1 on ProcessBench). Positions are counted while the ids are laid out, never found by
searching for a marker, which a solution might contain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol

from stepmark.errors import InputError, TooLongError, UnreadableError
from stepmark.steps import SEPARATOR
from stepmark.types import Problem

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

IGNORED = -100.0
"""the label of a token that is not trained"""

Kind = Literal["orm", "prm"]
Neutral = Literal["right", "wrong", "unrated"]
"""how a step that people or an oracle rated 0 counts"""
WORTH: Mapping[Neutral, Mapping[float | None, float | None]] = {
    "right": {1: 1.0, 0: 1.0, -1: 0.0, None: None},
    "wrong": {1: 1.0, 0: 0.0, -1: 0.0, None: None},
    "unrated": {1: 1.0, 0: None, -1: 0.0, None: None},
}
"""the target of each rating"""
Classes = Literal[2, 3]
"""2: right and wrong, with any probability between; 3: good, neutral and wrong, each a class of its own"""


@dataclass(frozen=True, slots=True)
class Layout:
    """How a solution is laid out for a reward model."""

    max_tokens: int
    """a longer sequence is an error: cutting it would lose the scores of its last steps"""
    marker: str | None = None
    """a token put after every step, at which the step is judged; None: judge at the separator's last token"""
    separator: str = SEPARATOR
    """closes every step"""
    opening: str = "{question}" + SEPARATOR
    """what stands before the first step, after the begin token if the tokenizer has one"""


@dataclass(frozen=True, slots=True)
class Encoded:
    """A solution in tokens: step s is judged at token `judged_S[s]`; the solution begins at token `start`."""

    ids_T: tuple[int, ...]
    judged_S: tuple[int, ...]
    start: int


@dataclass(frozen=True, slots=True)
class Example:
    """A solution with what is known of it. The same examples train both kinds of reward model."""

    problem: Problem
    steps: tuple[str, ...]
    targets: tuple[float | None, ...] = ()
    """for a PRM: the probability in [0, 1] that each step is right, None where a step is not rated. Ratings by people
    or an oracle (+1, 0, -1) become targets through `from_signed`, since there a 0 is not a wrong step; three classes
    are trained on the ratings themselves. Where only the last step of a prefix is rated, as one of several that were
    tried there (PRM800K's alternatives), the other targets are None: each rated prefix is an example of its own, and
    no sequence shows what other steps were rated."""
    outcome: float | None = None
    """for an ORM: 1 where the solution is correct, 0 where it is not, or a value between"""


def from_signed(ratings: Sequence[float | None], *, neutral: Neutral = "right") -> tuple[float | None, ...]:
    """Targets from ratings +1, 0, -1 (None: not rated). A neutral step is right, as in Let's Verify (arXiv 2305.20050),
    wrong, or taken as not rated."""
    worth = WORTH[neutral]
    for rating in ratings:
        if rating not in worth:
            raise InputError(
                f"a rating is {rating}, not +1, 0, -1 or None",
                remedy="values in [0, 1], as rollouts give, are targets already",
            )
    return tuple([worth[rating] for rating in ratings])


def step_targets(
    example: Example, kind: Kind, *, past_first_error: bool = False, classes: Classes = 2
) -> tuple[float | None, ...]:
    """The target of each step's score, None where there is none: a probability that the step is right, or with three
    classes its rating.

    PRM: the example's targets up to and including the first wrong one (0, of three classes -1), or all of them
    (`past_first_error`). After the first error it is no longer clear what a right step is (Let's Verify, section 2.6).
    ORM: the outcome at the last step, whose score is the score of the solution.
    """
    name = f"a solution of problem {example.problem.id!r}"
    values = example.targets if kind == "prm" else (*(None for _ in example.steps[1:]), example.outcome)
    if len(values) != len(example.steps):
        count = f"{name} has {len(example.steps)} steps and {len(values)} targets"
        raise InputError(count, remedy="give one per step, None where there is none")
    for value in values:
        if value is None:
            continue
        if classes == 3 and value not in (1, 0, -1):
            raise InputError(f"{name} has the rating {value}, not +1, 0 or -1", remedy="train two classes")
        if classes == 2 and not 0.0 <= value <= 1.0:
            raise InputError(
                f"{name} has the target {value}, not in [0, 1]", remedy="pass ratings of +1, 0, -1 through from_signed"
            )
    wrong = -1.0 if classes == 3 else 0.0
    if kind == "prm" and not past_first_error and wrong in values:
        end = values.index(wrong) + 1
        values = values[:end] + (None,) * (len(values) - end)
    if all(value is None for value in values):
        what = "rated step" if kind == "prm" else "outcome"
        raise InputError(f"{name} has no {what}", remedy="leave it out: nothing can be learnt from it")
    return values


def token_labels(encoded: Encoded, targets: Sequence[float | None], *, every_token: bool = False) -> list[float]:
    """The label of each token: a step's target at the token where the step is judged, `IGNORED` elsewhere. With
    `every_token`, as Let's Verify trains its ORM, the last target stands at every token of the solution instead."""
    labels_T = [IGNORED] * len(encoded.ids_T)
    if every_token and targets[-1] is not None:
        labels_T[encoded.start :] = [targets[-1]] * (len(labels_T) - encoded.start)
    for position, target in zip(encoded.judged_S, targets, strict=True):
        if target is not None:
            labels_T[position] = target
    return labels_T


def parts(encoded: Encoded, kind: Kind) -> list[int]:
    """What each token belongs to: 0 the question; s the s-th step (PRM), 1 the solution (ORM)."""
    parts_T = [0] * encoded.start
    for number, end in enumerate(encoded.judged_S, 1):
        parts_T += [number if kind == "prm" else 1] * (end + 1 - len(parts_T))
    return parts_T


def single_token(tokenizer: PreTrainedTokenizerBase, text: str) -> int:
    """The id of a text that must be one known token of the tokenizer: a marker, a label. Raises `InputError`."""
    ids: list[int] = tokenizer.encode(text, add_special_tokens=False)
    # decoded again, lest it be the token for unknown words, which a tokenizer need not declare
    if len(ids) != 1 or str(tokenizer.decode(ids)).strip() != text.strip():
        raise InputError(
            f"{text!r} is not one token of the tokenizer but {tokenizer.convert_ids_to_tokens(ids)}",
            remedy="choose a text that is one token, or add it to the tokenizer and the model",
        )
    return ids[0]


class SolutionEncoder(Protocol):
    """What decides the ids of a solution and where its steps are judged."""

    def encode(self, problem: Problem, steps: Sequence[str]) -> Encoded: ...


def readable(problem: Problem, steps: Sequence[str]) -> list[str]:
    """The steps as a reward model reads them: white space at their ends says nothing, and never changes a score. Raises
    `InputError` where there is no step, `UnreadableError` where one is blank."""
    if not steps:
        raise InputError(f"a prefix of problem {problem.id!r} has no steps", remedy="there is nothing to judge")
    for number, step in enumerate(steps, 1):
        if not step.strip():
            raise UnreadableError(
                f"step {number} of a solution of problem {problem.id!r} is blank",
                remedy="stepmark.steps.split leaves blank lines out",
            )
    return [step.rstrip() for step in steps]


def check_length(problem: Problem, tokens: int, limit: int) -> None:
    """Raises `TooLongError`: a cut solution would lose the scores of its last steps."""
    if tokens > limit:
        raise TooLongError(
            f"a solution of problem {problem.id!r} has {tokens} tokens, {limit} are the limit",
            remedy="leave it out, or use a model with a longer context; a cut solution would lose steps",
        )


KNOWN_PIECES = 1 << 16
"""pieces whose ids an encoder remembers; then it begins anew"""


class Encoder:
    """Solutions to token ids by one tokenizer and layout. Only the text counts: a policy's own ids are another
    tokenizer's."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, layout: Layout) -> None:
        self._tokenizer = tokenizer
        self._layout = layout
        self._known: dict[str, list[int]] = {}
        self._bos = () if tokenizer.bos_token_id is None else (tokenizer.bos_token_id,)
        separator = self._pieces([layout.separator])[0]
        if not separator:
            raise InputError(
                f"the tokenizer has no token for the separator {layout.separator!r}",
                remedy="a tokenizer that drops line ends cannot mark the end of a step",
            )
        self._end = (*separator, *(() if layout.marker is None else (single_token(tokenizer, layout.marker),)))

    def encode(self, problem: Problem, steps: Sequence[str]) -> Encoded:
        """Raises `InputError` where there is no step, `UnreadableError` where one is blank, `TooLongError` where the
        sequence is longer than `max_tokens`. A special token written out in the text is read as the characters that it
        consists of."""
        opening = self._layout.opening.replace("{question}", problem.question)
        question, *pieces = self._pieces([opening, *readable(problem, steps)])
        ids = [*self._bos, *question]
        start = len(ids)
        judged = []
        for piece in pieces:
            ids += piece
            ids += self._end
            judged.append(len(ids) - 1)
        check_length(problem, len(ids), self._layout.max_tokens)
        return Encoded(tuple(ids), tuple(judged), start)

    def _pieces(self, texts: list[str]) -> list[list[int]]:
        """Solutions of one problem share its question and many steps, so each text is tokenised once."""
        if len(self._known) + len(texts) > KNOWN_PIECES:
            self._known.clear()
        unknown = list({text for text in texts if text not in self._known})
        if unknown:
            encoded = self._tokenizer(
                unknown, add_special_tokens=False, split_special_tokens=True, return_attention_mask=False, verbose=False
            )
            self._known.update(zip(unknown, encoded["input_ids"], strict=True))
        return [self._known[text] for text in texts]
