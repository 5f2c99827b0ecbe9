"""Multiple choice: a letter, a letter with its option, an option alone."""

import re

_WRAPPER = re.compile(r"\\(?:text|textbf|mathrm|mathbf|bf|boxed|mbox)\s*(?=\{)|[{}$]|\\[,; !]")
_LETTER = re.compile(r"\(?([A-Ha-h])\)?[.:]?")
_LETTERED = re.compile(r"\(?([A-Ha-h])(?:\)|[.:]\s)\s*(\S.*)", re.DOTALL)
_OPTION = re.compile(
    r"(?:\\(?:textbf|text|mathrm|mathbf|bf)\s*\{\s*)?(?<![A-Za-z0-9])(?:\(([A-H])\)|([A-H])[).:](?=[\s~\\}]))\s*\}?"
)
_TAIL = re.compile(r"(?:\\qquad|\\quad|\\\\|\\hspace\{[^}]*\}|[\s$~,;.]|\\textbf\{?|\\ )+$")
_HEAD = re.compile(r"^(?:\\ |[\s~}$:]|\\\s)+")


def letter(text: str) -> str | None:
    """The letter of an answer that is one letter A-H, perhaps in parentheses."""
    found = _LETTER.fullmatch(_WRAPPER.sub("", text).strip(" .,;"))
    return found[1].upper() if found and (found[1].isupper() or "(" in text) else None


def letters(a: str, b: str) -> bool | None:
    """Whether a bare letter and a letter with its option (`(C) 12`) are the same choice; None if they are not that."""
    for bare, full in ((letter(a), b), (letter(b), a)):
        if bare is not None and (found := _LETTERED.fullmatch(_WRAPPER.sub("", full).strip())) is not None:
            return found[1].upper() == bare
    return None


def options(question: str) -> dict[str, str]:
    """The options that a question lists, by letter: at least three, in order, from A."""
    found = [(match[1] or match[2], match.start(), match.end()) for match in _OPTION.finditer(question)]
    starts = [index for index, entry in enumerate(found) if entry[0] == "A"]
    listed = dict[str, str]()
    for index, (name, _, end) in enumerate(found[starts[-1] :] if starts else []):
        if name != "ABCDEFGH"[len(listed) : len(listed) + 1]:
            break
        rest = found[starts[-1] + index + 1 :]
        text = question[end : rest[0][1] if rest else len(question)]
        listed[name] = _HEAD.sub("", _TAIL.sub("", text)).strip()
    return listed if len(listed) >= 3 and all(listed.values()) else {}


def translate(question: str, gold: str, answer: str) -> tuple[str, str] | None:
    """Gold and answer, both as option texts, if one is a letter of the question's options and the other is none."""
    gold_letter, answer_letter = letter(gold), letter(answer)
    if (gold_letter is None) == (answer_letter is None):
        return None
    listed = options(question)
    if gold_letter in listed:
        return listed[gold_letter], answer
    return (gold, listed[answer_letter]) if answer_letter in listed else None
