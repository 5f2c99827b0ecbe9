"""A prefix in tokens: the prompt, then the steps' ids, each step closed by a newline."""

from typing import Any

from stepmark.steps import SEPARATOR
from stepmark.types import Prefix, Problem


def plain_prompt(tokenizer: Any, problem: Problem) -> list[int]:
    """The begin token, if the tokenizer has one, and the question closed by a newline."""
    begin = tokenizer.bos_token_id
    return ([] if begin is None else [begin]) + ids(tokenizer, problem.question + SEPARATOR)


def encode(tokenizer: Any, prompt_T: list[int], prefix: Prefix) -> list[int]:
    """The ids of a prompt and the prefix's steps. Ids that the policy wrote are used as they are; steps that came as
    text are encoded one by one, never together with their neighbours."""
    if prefix.token_ids is None or (prefix.steps and not prefix.token_ids):
        return prompt_T + [i for step in prefix.steps for i in ids(tokenizer, step + SEPARATOR)]
    return prompt_T + list(prefix.token_ids)


def ids(tokenizer: Any, text: str) -> list[int]:
    """The ids of a piece of text, without the tokenizer's own begin and end tokens."""
    found: list[int] = tokenizer.encode(text, add_special_tokens=False)
    return found
