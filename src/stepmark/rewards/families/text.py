"""Solutions to token ids as the published models that tokenise a whole text read them.

    opening  step closing marker between  step closing marker between  ...
                          ^ judged here                ^

The text is tokenised in one piece, because these models were trained so: a tokenizer may merge characters across the
border of a step, and its ids at the step's end are then others than those of the step alone. The markers that count are
found by their place in the text, which the tokenizer reports for every token (so it must be a fast one), and not by
their id: a step that contains the marker's characters shifts nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from transformers import PreTrainedTokenizerBase

from stepmark.errors import InputError, UnreadableError
from stepmark.rewards.examples import Encoded, check_length, readable
from stepmark.types import Problem

Place = Literal["marker", "marker's first token", "before", "two before"]
"""the token whose hidden state is read: the marker's last or first one, or one or two tokens before the marker"""


@dataclass(frozen=True, slots=True)
class Text:
    """How a family writes a question and steps as one text. In all strings {bos} and {pad} are the tokenizer's own."""

    opening: str
    """stands before the first step; {question} is replaced"""
    marker: str
    """stands after every step and its closing"""
    closing: str = ""
    """stands between a step and its marker"""
    between: str = ""
    """stands between a marker and the next step"""
    place: Place = "marker"
    keep_marker: bool = True
    """False: the markers only part the text, one after the opening too; their tokens are taken out again"""
    numbered: bool = False
    """every step begins with "Step 1: ", "Step 2: ", ..., in place of what number it has"""
    trimmed: bool = False
    """white space around a step is taken off, as chat templates do"""
    special_tokens: bool = True
    """the tokenizer adds the special tokens that it is set to add, such as the begin token"""


class TextEncoder:
    """Solutions to ids by one tokenizer and text."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, text: Text, max_tokens: int) -> None:
        if not tokenizer.is_fast:
            raise InputError(
                "the tokenizer does not tell which characters a token stands for", remedy="save it as tokenizer.json"
            )
        self._tokenizer = tokenizer
        self._text = text
        self._limit = max_tokens
        self._marker = self._filled(text.marker)
        ids = tokenizer.encode(self._marker, add_special_tokens=False)
        if str(tokenizer.decode(ids)).strip(" ") != self._marker.strip(" "):
            raise InputError(
                f"the tokenizer has no token for the marker {self._marker!r}",
                remedy="put the model's own tokenizer beside it",
            )
        self._marker_id = ids[-1]
        added = tokenizer.added_tokens_decoder.values()
        self._special = sorted({str(token) for token in added if token.special or str(token) == self._marker.strip()})

    def encode(self, problem: Problem, steps: Sequence[str]) -> Encoded:
        """Raises `InputError` where there is no step, or the tokenizer merges a marker with what stands beside it;
        `UnreadableError` where a step is blank, or a special token stands written out in the text (the model would take
        it for one); `TooLongError` where the sequence is longer than the model reads."""
        steps = readable(problem, steps)
        self._refuse_special_tokens(problem, steps)
        text, start, spans = self._lay_out(problem.question, steps)
        encoded = self._tokenizer(
            text,
            add_special_tokens=self._text.special_tokens,
            return_offsets_mapping=True,
            return_attention_mask=False,
            verbose=False,
        )
        ids: list[int] = encoded["input_ids"]
        places: list[tuple[int, int]] = encoded["offset_mapping"]
        marks = [self._tokens_of(span, ids, places, problem) for span in spans]
        if self._text.keep_marker:
            judged = [self._position(mark) for mark in marks]
        else:  # the first marker parts the opening from the first step; n markers before a token move it by n
            dropped = {token for mark in marks for token in mark}
            judged = [self._position(mark) - number for number, mark in enumerate(marks)][1:]
            ids = [token for index, token in enumerate(ids) if index not in dropped]
        check_length(problem, len(ids), self._limit)
        first = next((index for index, (_, end) in enumerate(places) if end > start), 0)
        return Encoded(tuple(ids), tuple(judged), first)

    def _lay_out(self, question: str, steps: Sequence[str]) -> tuple[str, int, list[tuple[int, int]]]:
        """The text, where its first step begins, and the characters of every marker."""
        text = self._filled(self._text.opening).replace("{question}", question)
        spans = []
        if not self._text.keep_marker:
            spans.append((len(text), len(text) + len(self._marker)))
            text += self._marker
        start = len(text)
        for number, step in enumerate(steps, 1):
            if number > 1:
                text += self._filled(self._text.between)
            text += self._written(step, number) + self._filled(self._text.closing)
            spans.append((len(text), len(text) + len(self._marker)))
            text += self._marker
        return text, start, spans

    def _written(self, step: str, number: int) -> str:
        if self._text.numbered:
            return f"Step {number}: " + re.sub(r"^\s*Step \d+:\s*", "", step)
        if self._text.trimmed:
            return step.rstrip() if number == 1 else step.strip()
        return step

    def _tokens_of(
        self, span: tuple[int, int], ids: list[int], places: list[tuple[int, int]], problem: Problem
    ) -> list[int]:
        """The tokens of a marker's characters, without the space that it may begin with."""
        begin, end = span
        visible = end - len(self._marker.lstrip(" "))
        tokens = [index for index, (low, high) in enumerate(places) if low < end and high > visible]
        if (
            not tokens
            or ids[tokens[-1]] != self._marker_id
            or any(places[token][0] < begin or places[token][1] > end for token in tokens)
        ):
            raise InputError(
                f"the tokenizer merges the marker {self._marker!r} with what stands beside it in a solution of problem "
                f"{problem.id!r}",
                remedy="put the model's own tokenizer beside it, or name another family",
            )
        return tokens

    def _position(self, mark: list[int]) -> int:
        match self._text.place:
            case "marker":
                return mark[-1]
            case "marker's first token":
                return mark[0]
            case "before":
                return mark[0] - 1
            case "two before":
                return mark[0] - 2

    def _refuse_special_tokens(self, problem: Problem, steps: Sequence[str]) -> None:
        for token in self._special:
            if any(token in text for text in (problem.question, *steps)):
                raise UnreadableError(
                    f"problem {problem.id!r} or a solution of it contains the special token {token!r} as text",
                    remedy="write it otherwise: the model would read it as the token",
                )

    def _filled(self, template: str) -> str:
        tokenizer = self._tokenizer
        return template.replace("{bos}", str(tokenizer.bos_token)).replace("{pad}", str(tokenizer.pad_token))
