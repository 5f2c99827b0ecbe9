"""The parts of an expression: numbers, names, functions, brackets, matrices, sets, sums."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from fractions import Fraction

from stepmark.grading.cursor import Cursor
from stepmark.grading.lexer import ParseError, Token
from stepmark.grading.notation import (
    ACCENTS,
    BRACKETS,
    CONSTANTS,
    DOTS,
    FUNCTIONS,
    GLUED,
    GREEK,
    INVERTIBLE,
    MATRICES,
    NO_FACTOR,
    SHAPES,
    WORDS,
)
from stepmark.grading.tree import MINUS_ONE, REALS, Node, call, const, divide, mul, num, power, sym
from stepmark.grading.units import CURRENCIES

_BASES = frozenset(map(str, range(2, 37)))


class Primaries(Cursor, ABC):
    """Parses primaries; the operators between them are the parser's, which completes this class."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        self.bars = 0
        """open absolute values: a bar closes the innermost"""
        self.in_set = False
        """directly inside braces: a bar or colon begins the condition"""
        self.currency: tuple[str, ...] = ()
        """of the number that is being read"""

    @abstractmethod
    def relation(self) -> Node: ...

    @abstractmethod
    def sum(self) -> Node: ...

    @abstractmethod
    def product(self) -> Node: ...

    @abstractmethod
    def signed_factor(self) -> Node: ...

    @abstractmethod
    def juxtapose(self, left: Node) -> Node: ...

    @abstractmethod
    def starts_factor(self) -> bool: ...

    @abstractmethod
    def script(self) -> Node: ...

    @abstractmethod
    def whole(self) -> Node: ...

    def braced(self) -> Node:
        self.expect("{")
        self.enter()
        node = self.relation()
        self.depth -= 1
        self.expect("}")
        return node

    def argument(self) -> Node:
        """The argument of a LaTeX command: a group, or a single character; `\\frac12` is 1/2."""
        if self.next == "{":
            return self.braced()
        if self.splits:
            character = self.split()
            return num(int(character)) if character.isdecimal() else letters(character)
        return self.primary()

    def primary(self) -> Node:
        self.enter()
        try:
            token = self.take()
            if token.kind == "num":
                return self.number(token)
            if token.kind == "word":
                return self.word(token)
            return self.symbolic(token)
        finally:
            self.depth -= 1

    def number(self, token: Token) -> Node:
        assert token.number is not None
        if self.next in ("overline", "bar", "dot") and "." in token.text:
            self.position += 1
            digits = self.repeating()
            places = len(token.text.partition(".")[2])
            return num(token.number + Fraction(int(digits), (10 ** len(digits) - 1) * 10**places))
        if self.accept("_"):
            base = self.subscript()
            if base in _BASES and token.text.isdecimal() and all(int(digit) < int(base) for digit in token.text):
                return Node("based", (), (token.text.lstrip("0") or "0", base))
            raise ParseError("a number with a subscript that is no base")
        return Node("num", (), token.number, token.places)

    def repeating(self) -> str:
        braced = self.accept("{")
        token = self.take()
        if braced:
            self.expect("}")
        if token.kind != "num" or not token.text.isdecimal():
            raise ParseError("a repeating part that is no number")
        return token.text

    def word(self, token: Token) -> Node:
        text = token.text
        if text in FUNCTIONS and (text not in ("max", "min") or self.next in ("(", "{")):
            return self.function(FUNCTIONS[text])
        if text == "sqrt":
            return power(self.primary(), num(Fraction(1, 2)))
        if text in CONSTANTS:
            return const(CONSTANTS[text])
        if len(text) == 1:
            return self.named(text)
        if text.isupper():
            return self.named(text)
        if (glued := GLUED.fullmatch(text)) is not None and not token.quoted and glued[2]:
            if glued[1] == "pi":
                return mul(const("pi"), letters(glued[2]))
            return (
                call(glued[1], letters(glued[2]))
                if glued[1] != "sqrt"
                else power(letters(glued[2]), num(Fraction(1, 2)))
            )
        if len(text) <= 3 and not token.quoted and text.casefold() not in WORDS and not self.beside_word():
            return mul(*(letters(letter) for letter in text[:-1]), self.named(text[-1]))
        raise ParseError(f"the word {text!r}")

    def beside_word(self) -> bool:
        """Whether the token just taken stands between words, as in prose."""
        beside = (*self.tokens[max(self.position - 2, 0) : self.position - 1], *self.tokens[self.position :][:1])
        return any(token.kind == "word" and len(token.text) > 1 and token.text not in FUNCTIONS for token in beside)

    def named(self, text: str) -> Node:
        """A letter with its subscript, applied if it is f, g or h before a parenthesis."""
        if self.accept("_"):
            text += "_" + self.subscript()
        elif text in ("e", "i"):
            return const(text)
        while self.accept("'"):
            text += "'"
        if text == "C" and self.next == "(":
            group = self.primary()
            counts = group.head == "tuple" and len(group.args) == 2
            return call("binomial", *group.args) if counts else mul(sym(text), group)
        if text[0] in "fgh" and self.next == "(":
            group = self.primary()
            return call(text, *(group.args if group.head == "tuple" else (group,)))
        return sym(text)

    def function(self, name: str) -> Node:
        base = exponent = None
        if name in ("log", "ln") and self.accept("_"):
            base = self.argument() if self.next == "{" else self.primary()
        if self.accept("^"):
            exponent = self.script()
            if exponent == MINUS_ONE and name in INVERTIBLE:
                name, exponent = f"arc{name}", None
        if base is None and name == "log" and self.accept("_"):
            base = self.argument()
        args = self.arguments()
        if name == "lg":
            name, base = "log", num(10)
        if name == "log" and base is None:
            name = "ln"
        node = power(const("e"), args[0]) if name == "exp" and len(args) == 1 else call(name, *args)
        if base is not None:
            node = call("log", args[0], base)
        return node if exponent is None else power(node, exponent)

    def arguments(self) -> tuple[Node, ...]:
        if self.next in ("(", "[", "{"):
            group = self.primary()
            return group.args if group.head in ("tuple", "list") else (group,)
        self.enter()
        node = self.signed_factor()
        while self.starts_factor() and self.next not in ("(", "[", "{"):
            token = self.tokens[self.position]
            if token.text in FUNCTIONS:
                break
            node = self.juxtapose(node)
        self.depth -= 1
        return (node,)

    def symbolic(self, token: Token) -> Node:
        text = token.text
        if text in BRACKETS:
            return self.bracketed(text)
        if text == "{":
            return self.group()
        if text in ("|", "vert", "lvert", "Vert", "lVert"):
            return self.absolute(text)
        if text in CURRENCIES:
            self.currency = (CURRENCIES[text],)
            return self.primary()
        if text in DOTS:
            return sym("...")
        if token.kind == "cmd":
            return self.command(text)
        raise ParseError(f"unexpected {text!r}")

    def command(self, text: str) -> Node:
        if text in ("frac", "dfrac", "tfrac", "cfrac"):
            top = self.argument()
            return divide(top, self.argument())
        if text == "sqrt":
            degree = None
            if self.accept("["):
                degree = self.sum()
                self.expect("]")
            body = self.braced() if self.next == "{" else self.primary()
            return power(body, num(Fraction(1, 2)) if degree is None else divide(num(1), degree))
        if text in FUNCTIONS:
            return self.function(FUNCTIONS[text])
        if text in CONSTANTS:
            return const(CONSTANTS[text])
        if text in ("binom", "dbinom", "tbinom"):
            top = self.argument()
            return call("binomial", top, self.argument())
        if text in ("lfloor", "lceil"):
            node = self.sum()
            self.expect("rfloor" if text == "lfloor" else "rceil")
            return call("floor" if text == "lfloor" else "ceil", node)
        if text == "lbrace":
            return self.set()
        if text in ("emptyset", "varnothing"):
            return Node("set")
        if text == "begin":
            return self.environment()
        if text in ("mathbb", "Bbb"):
            return self.field()
        if text in ("R", "Z", "N", "Q", "C"):
            return Node("field", (), text)
        if text in ACCENTS:
            braced = self.accept("{")
            name = text + ":" + self.take().text
            if braced:
                while not self.accept("}"):
                    name += self.take().text
            return self.named(name)
        if text in SHAPES:
            inner = self.primary()
            name = inner.name if inner.head == "sym" else "".join(str(part.leaf) for part in inner.args)
            return sym(f"{text} {name}")
        if text in ("sum", "prod", "int", "lim"):
            return self.big(text)
        if text in NO_FACTOR or not text.isalpha():
            raise ParseError(f"unexpected \\{text}")
        return self.named("\\" + GREEK.get(text, text))

    def bracketed(self, opening: str) -> Node:
        in_set, bars, self.in_set, self.bars = self.in_set, self.bars, False, 0
        items = [self.relation()]
        while self.accept(",", ";"):
            items.append(self.relation())
        self.in_set, self.bars = in_set, bars
        angled = opening == "langle"
        closing = self.take().text
        if closing != "rangle" if angled else closing not in (")", "]", "rbrack"):
            raise ParseError(f"expected {BRACKETS[opening]!r}")
        kind = "()" if angled else ("(" if opening == "(" else "[") + (")" if closing == ")" else "]")
        if len(items) == 1 and not angled:
            if kind in ("()", "[]"):
                return items[0]
            raise ParseError("brackets that do not match")
        if kind in ("(]", "[)") and len(items) != 2:
            raise ParseError("brackets that do not match")
        return Node("tuple", tuple(items), kind)

    def group(self) -> Node:
        if self.accept("}"):
            raise ParseError("an empty group")
        items = [self.relation()]
        if self.accept("choose"):
            node = call("binomial", items[0], self.relation())
            self.expect("}")
            return node
        while self.accept(",", ";"):
            items.append(self.relation())
        self.expect("}")
        return items[0] if len(items) == 1 else Node("list", tuple(items), ",")

    def absolute(self, text: str) -> Node:
        self.bars += 1
        node = self.sum()
        self.bars -= 1
        self.expect({"lvert": "rvert", "lVert": "rVert"}.get(text, text))
        return call("abs", node)

    def set(self) -> Node:
        if self.accept("rbrace"):
            return Node("set")
        outer, self.in_set = self.in_set, True
        items = [self.relation()]
        builder = self.accept("|", "mid", ":", "vert")
        if builder:
            self.in_set = False
            items.append(self.relation())
        while self.accept(",", ";"):
            items.append(self.relation())
        self.in_set = outer
        self.expect("rbrace")
        return Node("builder" if builder else "set", tuple(items))

    def field(self) -> Node:
        braced = self.accept("{")
        token = self.take()
        if braced:
            self.expect("}")
        if token.text not in ("R", "Z", "N", "Q", "C"):
            raise ParseError("an unknown number set")
        name = token.text
        if self.next in ("^", "_"):
            mark = self.take().text + self.subscript()
            name += mark.strip("^_{}")
        return REALS if name == "R" else Node("field", (), name)

    def environment(self) -> Node:
        self.expect("{")
        name = self.take().text
        self.expect("}")
        if name not in MATRICES:
            raise ParseError(f"the environment {name!r}")
        if name == "array":
            self.expect("{")
            while not self.accept("}"):
                self.take()
        rows, row = list[Node](), list[Node]()
        while True:
            while self.accept("hline"):
                pass
            if self.next not in ("\\", "end", "&"):
                row.append(self.relation())
            if self.accept("\\", "end"):
                if row:
                    rows.append(Node("row", tuple(row)))
                row = []
                if self.tokens[self.position - 1].text == "end":
                    break
            else:
                self.expect("&")
        self.expect("{")
        if self.take().text != name:
            raise ParseError("an environment that is not closed")
        self.expect("}")
        if not rows or len({len(row.args) for row in rows}) != 1:
            raise ParseError("a matrix whose rows differ in length")
        matrix = Node("matrix", tuple(rows))
        return call("det", matrix) if name == "vmatrix" else matrix

    def big(self, kind: str) -> Node:
        """A sum, product, integral or limit with its bounds."""
        low = high = None
        while self.next in ("_", "^"):
            if self.take().text == "_":
                low = self.argument_relation()
            else:
                high = self.script()
        if kind == "int":
            body = self.sum_before_differential()
            return Node("int", (*body, low, high) if low is not None and high is not None else body)
        if low is None:
            raise ParseError(f"a {kind} without bounds")
        if kind == "lim":
            if low.head != "to" or low.args[0].head != "sym":
                raise ParseError("a limit of nothing to anywhere")
            return Node("lim", (self.product(), low.args[0], low.args[1]))
        if low.head != "relation" or low.words != ("=",) or low.args[0].head not in ("sym", "const") or high is None:
            raise ParseError(f"a {kind} without bounds")
        variable, start = low.args
        body_node = self.product()
        if variable.head == "const":
            body_node = _rename(body_node, variable, sym(variable.name))
            variable = sym(variable.name)
        return Node(kind, (body_node, variable, start, high))

    def argument_relation(self) -> Node:
        braced = self.accept("{")
        node = self.relation() if braced else self.primary()
        if braced and self.accept("to", "rightarrow", "->"):
            node = Node("to", (node, self.relation()))
        if braced:
            self.expect("}")
        return node

    def sum_before_differential(self) -> tuple[Node, Node]:
        """The integrand and its variable: `... dx` at the end of the tokens or before an operator."""
        start = self.position
        for end in range(start, len(self.tokens)):
            text = self.tokens[end].text
            if self.tokens[end].kind == "word" and len(text) == 2 and text[0] == "d":
                inner = type(self)(self.tokens[start:end])
                body = inner.whole() if end > start else num(1)
                self.position = end + 1
                return body, letters(text[1])
        raise ParseError("an integral without a differential")


def _rename(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    return Node(node.head, tuple(_rename(arg, old, new) for arg in node.args), node.leaf, node.places)


def letters(text: str) -> Node:
    """The product of the letters of a run."""
    return mul(*(const(letter) if letter in "ei" else sym(letter) for letter in text))
