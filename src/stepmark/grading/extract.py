"""The answer of a solution's text.

`extract` takes only what the text marks as its answer: the last `\\boxed{}` or `\\fbox{}` (boxes joined by "and",
"or" or commas are one answer; "the final answer is x" after the last box goes before it), else the last line that is
`#### x`, `# Answer`, `Answer: x` or `A: x`, or the last sentence "the answer is x". It never guesses: without a mark
there is no answer. `reading` goes further, for files whose fields may hold an answer or a text around it, and says
when it guessed.
"""

import re
from typing import Literal

from stepmark.grading.forms import read

Rule = Literal["marked", "whole", "guessed"]

_BOX = re.compile(r"\\(?:boxed|fbox)(?![a-zA-Z])(?:\s{0,9}\{)?")
_SHORT_BOX = re.compile(r"\s?(?:[0-9.]{1,99}|[A-Za-z](?![a-zA-Z]))")
_BRACE = re.compile(r"\\\\|\\?[{}]")
_GAP_NOISE = re.compile(r"[${}\s;~]|\\[()\[\]{},;:! ]|\\(?:q?quad|text|mathrm|textbf|mbox)(?![a-z])|\*\*")
_GAP_HEAD = re.compile(r"[A-Za-z](?:_\{?\w+\}?)?(?:\([a-z0-9]\))?\s*=")
_AFTER_BOX = re.compile(r"(?:\$|\\\)|\s)*(?:\\?%|(?:percent|pct|percentage)\b)")
_NOT_JOINED = frozenset(
    ["is", "are", "so", "thus", "hence", "therefore", "answer", "final", "which", "then", "gives", "get"]
)
_CHAT = re.compile(r"<\|[a-z_]+\|>|</?s>")
_HASHES = re.compile(r"(?:^|\n)[ \t]*####[ \t]*([^\n]+)")
_LAST_LINE = re.compile(r"(?:^|\n)A:[ \t]{0,9}(\S[^\n]*)\s*\Z")
_LINE = re.compile(
    r"(?:^|\n)[ \t>*_]{0,9}(?:#{1,9}[ \t]*(?:the[ \t]+)?(?:final[ \t]+)?answer\b[ \t*_]{0,9}:?[ \t*_]{0,9}"
    r"|(?:the[ \t]+)?(?:final[ \t]+)?answer[ \t*_]{0,9}:[ \t*_]{0,9})[ \t]{0,9}\n{0,9}[ \t]{0,9}"
    r"(?P<rest>\S[^\n]*(?:\n[^\n]+\\\])?)"
    r"|\b(?:final[ \t]+)?answer:[ \t]*(?P<inline>\S[^\n]*)"
    r"|\banswer[ \t]+is(?:[ \t]+(?:thus|therefore|simply|then))?[ \t]*:?\s*(?P<sentence>\S[^\n]*(?:\n[^\n]+\\\])?)",
    re.IGNORECASE,
)
_MATH = re.compile(
    r"\$\$(.{1,999}?)\$\$|(?<!\\)\$([^$\n]{1,999}?)(?<!\\)\$|\\\((.{1,999}?)\\\)|\\\[(.{1,999}?)\\\]", re.DOTALL
)
_FINAL = re.compile(r"[Ff]inal answer is:?\s*(?=\S)")
_STOP = re.compile(r"\.(?=[\s*]|$)|\n|,? (?:because|since|which|as|so|I hope)\b")
_NUMBER = re.compile(
    r"(?<![A-Za-z0-9_.,])[-−]?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)?(?:[.,]?[0-9]+)(?:/[0-9]+)?\s?(?:\\?%)?"
)
_CONDITIONAL = re.compile(r"\b(?:if|otherwise|when|unless|else)\b")
"""cases of an answer: its last number alone would be another answer"""
_SENTENCE = 120
_NO_ANSWER = frozenset(("correct", "right", "wrong", "incorrect", "as follows", "not correct", "unknown"))


def extract(text: str) -> str | None:
    """The answer that a text marks, None where it marks none."""
    boxed = _boxed(text)
    if boxed is not None:
        *_, tail = _FINAL.split(text)
        later = None if "\\boxed" in tail or len(tail) == len(text) else extract("The answer is " + tail)
        return boxed if later is None or read(later).head in ("unread", "text") else later
    text = _CHAT.split(text)[0] if "<" in text else text
    hashes = _HASHES.findall(text)
    if hashes:
        return _clean(hashes[-1])
    answer = _clean(last[1]) if (last := _LAST_LINE.search(text)) else None
    for found in _LINE.finditer(text):
        rest = found["rest"] or found["inline"]
        nested = re.search(r"\banswer is:?\s*(.+)", rest, re.IGNORECASE) if rest else None
        sentence = nested[1] if nested else found["sentence"]
        candidate = _clean(_sentence(sentence) if sentence else _line(rest))
        if candidate is not None and candidate.casefold() not in _NO_ANSWER:
            answer = candidate
    return answer


def reading(text: str) -> tuple[str | None, Rule]:
    """The answer that a field of a file means, and how it was found: `marked` in the text; the `whole` text, where
    that can be read as an answer; or `guessed`, the last formula or number of prose. None for nothing."""
    marked = extract(text)
    if marked is not None:
        return marked, "marked"
    bare = _CHAT.split(text)[0].strip()
    if not bare or read(bare).head != "unread" or not re.search(r"[A-Za-z]{2,}", re.sub(r"\\[A-Za-z]+", "", bare)):
        return bare or None, "whole"
    values = _values(bare)
    if not values or _CONDITIONAL.search(bare[-_SENTENCE:]):
        return bare, "whole"
    return values[-1], "guessed"


def _values(text: str) -> list[str]:
    """The formulas of a text, and the numbers outside them."""
    formulas = [(found.start(), found.end(), next(filter(None, found.groups()))) for found in _MATH.finditer(text)]
    spans = [(start, end) for start, end, _ in formulas]
    numbers = [
        (found.start(), found.end(), found[0])
        for found in _NUMBER.finditer(text)
        if not any(start <= found.start() < end for start, end in spans)
    ]
    return [value.strip() for _, _, value in sorted([*formulas, *numbers]) if value.strip()]


def _boxed(text: str) -> str | None:
    boxes = _boxes(text)
    if not boxes:
        return None
    start, end, last = boxes[-1]
    contents = [last + " percent" if "%" not in last and _AFTER_BOX.match(text, end) else last]
    for earlier_start, earlier_end, content in reversed(boxes[:-1]):
        if earlier_end > start or not _joined(text[earlier_end:start]):
            break
        contents.append(content)
        start = earlier_start
    return ", ".join(dict.fromkeys(reversed(contents)))


def _boxes(text: str) -> list[tuple[int, int, str]]:
    """Where each box begins and ends, and what stands in it; boxes that are empty or never closed are left out."""
    marks = {found.end(): found.start() for found in _BOX.finditer(text)}
    if not marks:
        return []
    boxes, open_braces = [], list[int]()
    for brace in _BRACE.finditer(text):
        if brace[0] == "{":
            open_braces.append(brace.end())
        elif brace[0] == "}" and open_braces and (inside := open_braces.pop()) in marks:
            boxes.append((marks[inside], brace.end(), text[inside : brace.start()].strip()))
    for end, start in marks.items():
        if text[end - 1] != "{" and (short := _SHORT_BOX.match(text, end)) is not None:
            boxes.append((start, short.end(), short[0].strip()))
    return sorted(box for box in boxes if box[2])


def _joined(gap: str) -> bool:
    """Whether what stands between two boxes makes them one answer: nothing, or a few words with "and", "or" or a
    comma."""
    if len(gap) > 60 or "\n\n" in gap:
        return False
    plain = _GAP_HEAD.sub(" ", _GAP_NOISE.sub(" ", gap)).strip()
    words = re.findall(r"[A-Za-z]+", plain.casefold())
    if not plain:
        return True
    if "." in plain or "=" in plain or len(words) > 5 or _NOT_JOINED & set(words):
        return False
    return "," in plain or bool({"and", "or"} & set(words)) if words else set(plain) <= set(", ")


def _sentence(text: str) -> str:
    """The start of a text up to the end of its sentence; formulas are not cut."""
    position = 0
    while True:
        formula, stop = _MATH.search(text, position), _STOP.search(text, position)
        if stop is None:
            return text
        if formula is None or stop.start() < formula.start():
            return text[: stop.start()]
        position = formula.end()


def _line(text: str) -> str:
    """The answer in a marked line: what follows the last " is " of a sentence, else all of it."""
    sentence = _sentence(text)
    head, verb, tail = sentence.rpartition(" is ")
    if verb and len(head.split()) >= 2 and len(tail.split()) <= 6:
        return tail
    if read(sentence).head == "unread" and len(values := _values(sentence)) == 1:
        return values[0]
    return sentence


def _clean(text: str) -> str | None:
    text = text.strip().strip("*_\"'`").strip()
    if text.startswith('\\"'):
        text = text.strip('\\"')
    return text.rstrip(".").strip() or None
