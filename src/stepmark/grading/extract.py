"""The answer of a solution's text. Only marked answers count: there is no guess from "the last number"."""

import re

_MARKERS = re.compile(
    r"(?:^|\n)[ \t]*(?:####|#+[ \t]*Answer\b:?|\**(?:Final[ \t]+)?Answer[ \t]*:\**|A:)[ \t]*\n?[ \t]*(?P<line>[^\n]+)"
    r"|\b[Tt]he[ \t]+(?:final[ \t]+)?answer[ \t]+is:?[ \t]*(?P<is>[^\n]+)"
)


def extract(text: str) -> str | None:
    """The answer that `text` marks, or None. The last `\\boxed{}` wins, then the last line-marked answer."""
    boxed = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if boxed >= 0:
        return _braced(text, text.find("{", boxed))
    found = None
    for found in _MARKERS.finditer(text):
        pass
    if found is None:
        return None
    answer = (found["line"] or found["is"]).strip()
    return answer.rstrip(".") or None


def _braced(text: str, start: int) -> str | None:
    depth = 0
    for position in range(start, len(text)) if start >= 0 else ():
        depth += (text[position] == "{") - (text[position] == "}")
        if depth == 0:
            return text[start + 1 : position].strip() or None
    return None
