"""A place in a sequence of tokens: what every part of the parser reads with."""

from collections.abc import Sequence
from fractions import Fraction

from stepmark.grading.lexer import ParseError, Token

MAX_DEPTH = 40


class Cursor:
    """Reads tokens one by one. Every method consumes what it reads or raises ParseError."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0

    @property
    def next(self) -> str:
        """The text of the next token that is an operator or a command; empty at numbers, words and the end."""
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind in ("op", "cmd"):
                return token.text
        return ""

    def accept(self, *texts: str) -> bool:
        if (here := self.next) and here in texts:
            self.position += 1
            return True
        return False

    def expect(self, *texts: str) -> None:
        if not self.accept(*texts):
            raise ParseError(f"expected {texts[0]!r}")

    def take(self) -> Token:
        if self.position >= len(self.tokens):
            raise ParseError("ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParseError(f"nested deeper than {MAX_DEPTH}")

    def split(self) -> str:
        """Takes the first character of a run of digits or letters: an argument without braces is one character."""
        token = self.take()
        rest = token._replace(text=token.text[1:], spaced=False)
        if token.kind == "num":
            rest = rest._replace(number=Fraction(int(rest.text)))
        self.position -= 1
        self.tokens = [*self.tokens[: self.position], rest, *self.tokens[self.position + 1 :]]
        return token.text[0]

    @property
    def splits(self) -> bool:
        """Whether the next token is a run of more than one digit or letter."""
        if self.position >= len(self.tokens):
            return False
        token = self.tokens[self.position]
        return len(token.text) > 1 and (token.kind == "word" or (token.kind == "num" and token.text.isdecimal()))

    def subscript(self) -> str:
        """The text of a subscript: one number, one letter, or what the braces hold."""
        if not self.accept("{"):
            return self.split() if self.splits and self.tokens[self.position].kind == "word" else self.take().text
        depth, parts = 1, list[str]()
        while True:
            text = self.take().text
            depth += (text == "{") - (text == "}")
            if not depth:
                return "".join(parts)
            parts.append(text)
