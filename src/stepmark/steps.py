"""Text to steps and back: the only place that knows a step separator.

A solution's text is its steps, each followed by one newline. Blank lines are no steps, so a trailing separator adds
none: `split(text) == split(text + "\\n\\n")`.
"""

from collections.abc import Iterable

SEPARATOR = "\n"


def split(text: str) -> tuple[str, ...]:
    """The steps of a text: its non-blank lines, without trailing white space."""
    return tuple(line.rstrip() for line in text.split(SEPARATOR) if line.strip())


def join(steps: Iterable[str]) -> str:
    """The text of steps, each closed by the separator."""
    return "".join([step + SEPARATOR for step in steps])
