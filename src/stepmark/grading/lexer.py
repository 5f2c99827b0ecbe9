"""Text to tokens: LaTeX and plain mathematics, one pass, no evaluation.

Wrappers that carry no meaning ($, \\left, \\displaystyle, \\text, spacing) are dropped; what stood inside \\text is
marked. Thousands are joined here, since only the text tells `1,234` from `1, 234`: a comma without a space before
exactly three digits joins, except inside brackets, where it separates (`(1,234)` is a pair) unless a group starts
with 0 (`(10,000)`).
"""

import re
from fractions import Fraction
from typing import NamedTuple

from stepmark.grading.unicode import to_ascii

MAX_CHARACTERS = 4_000
MAX_TOKENS = 1_500
MAX_DIGITS = 1_000


class ParseError(Exception):
    """The text is no mathematics that we read."""


class Token(NamedTuple):
    kind: str
    """num, word (letters), cmd (a LaTeX command, without its backslash), op"""
    text: str
    spaced: bool
    """white space stands before it"""
    quoted: bool
    """it stood inside \\text{} or the like"""
    number: Fraction | None = None
    places: int | None = None


_QUOTES = (
    "text|textbf|textit|textrm|textnormal|textsf|texttt|mbox|hbox|mathrm|mathbf|mathit|mathsf|mathcal|operatorname|emph"
    "|bf|rm|bm|boldsymbol"
)
_TOKEN = re.compile(
    r"""
    (?P<skip>(?:\s|~|\$|\\[,;:>!\ ()\[\]/]|\\(?:qquad|quad|displaystyle|textstyle|limits|nolimits|boxed|fbox)
        |\\(?:left|right|middle|big|Big|bigg|Bigg|[bB]igg?[lrm])(?:(?![a-zA-Z])\.?|(?=\\)))+)
    |\\(?P<quote>"""
    + _QUOTES
    + r""")\*?\s*\{(?P<quoted>[^{}]*)\}
    |(?P<num>[0-9]{1,3}(?:SEPARATOR[0-9]{3})+(?![0-9])(?:\.[0-9]+)?
        |(?:[0-9]+(?:\.(?:[0-9]+|(?![0-9.])))?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3}(?![0-9.a-zA-Z]))?)
    |(?P<word>[A-Za-z]+)
    |\\(?P<cmd>[A-Za-z]+|[\\{}%$\#&|_-])
    |(?P<op><=|>=|!=|==|=<|=>|->|\*\*|\.\.+|[-+*/^_!|,;:=<>()\[\]{}&'"%?.€£¥])
    """.replace("SEPARATOR", r"(?:,(?:\\!\s*)?|\s?\{\s*,\s*\}\s*|\\[,\ !]|\ )"),
    re.VERBOSE,
)
_ESCAPED = {"{": "lbrace", "}": "rbrace", "|": "Vert", "&": "and", "_": "blank", "-": "hyphen", "#": "number"}
_FIRST_GROUP = re.compile(r"[0-9]+")
_MANTISSA = re.compile(r"([0-9]*)\.?([0-9]*)(?:[eE]([+-]?[0-9]+))?")


def tidy(text: str) -> str:
    """The text with unicode mathematics rewritten in ASCII and over-escaped LaTeX (`\\\\frac`) unescaped."""
    if not text.isascii():
        text = to_ascii(text)
    if "\\\\" in text and (r"\\begin" in text or r"\begin" not in text):
        text = re.sub(r"\\\\(?=[a-zA-Z(\[)\]{}%$,!])", r"\\", text)
    return text


def lex(text: str, *, thousands: bool = True) -> list[Token]:
    """The tokens of a text. With `thousands` off a plain comma always separates."""
    if len(text) > MAX_CHARACTERS:
        raise ParseError(f"longer than {MAX_CHARACTERS} characters")
    tokens: list[Token] = []
    _lex(tidy(text), thousands, False, tokens)
    return tokens


def _lex(text: str, thousands: bool, quoted: bool, tokens: list[Token]) -> None:
    position, depth, spaced = 0, 0, False
    match = _TOKEN.match
    while position < len(text):
        found = match(text, position)
        if found is None:
            raise ParseError(f"unknown character {text[position]!r}")
        kind, end = found.lastgroup, found.end()
        if kind == "skip":
            spaced = True
        elif kind == "num":
            digits = found["num"]
            if "," in digits and (not thousands or (depth and not re.search(r",0[0-9][0-9]", digits))):
                plain = _FIRST_GROUP.match(digits)
                assert plain is not None
                if "{" not in digits[: plain.end() + 2] and "\\" not in digits:
                    digits, end = plain[0], position + plain.end()
            tokens.append(_number(digits, spaced, quoted))
            spaced = False
        elif kind == "quoted":
            if found["quoted"].strip():
                first = len(tokens)
                _lex(found["quoted"], thousands, True, tokens)
                if len(tokens) > first and spaced:
                    tokens[first] = tokens[first]._replace(spaced=True)
            spaced = found["quoted"][-1:].isspace()
        else:
            assert kind is not None
            value = found[kind]
            if kind == "cmd":
                value = _ESCAPED.get(value, value)
            if value in ("(", "[", "lbrace"):
                depth += 1
            elif depth and value in (")", "]", "rbrace"):
                depth -= 1
            tokens.append(Token(kind, value, spaced, quoted))
            spaced = False
        position = end
        if len(tokens) > MAX_TOKENS:
            raise ParseError(f"more than {MAX_TOKENS} tokens")


def _number(text: str, spaced: bool, quoted: bool) -> Token:
    """The token of an unsigned numeral, thousands joined. Its value is exact: decimals are fractions."""
    if len(text) > MAX_DIGITS:
        raise ParseError(f"a number of more than {MAX_DIGITS} characters")
    if text.isdecimal():
        return Token("num", text, spaced, quoted, Fraction(int(text)))
    joined = re.sub(r"[^0-9.eE+-]", "", text)
    found = _MANTISSA.fullmatch(joined)
    assert found is not None
    places = len(found[2])
    value = Fraction(int((found[1] + found[2]) or "0"), 10**places)
    if found[3]:
        value *= Fraction(10) ** int(found[3])
        places -= int(found[3])
    return Token("num", joined, spaced, quoted, value, places if places > 0 else None)
