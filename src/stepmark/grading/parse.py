"""Tokens to expression trees: operators, functions, brackets, matrices, relations. Recursive descent, nothing
evaluated.

Conventions where the notation is ambiguous: `1/2x` is (1/2)x and `a/bc` is a/(bc); `x^23` is x to the 23; `\\frac12` is
1/2; `3\\frac12` is a mixed number; `f(`, `g(`, `h(` apply a function and any other letter multiplies; `e`, `i` and
`\\pi` are the constants; a run of capitals (`AB`) is one name.
"""

import re
from collections.abc import Sequence
from fractions import Fraction

from stepmark.grading.lexer import ParseError, Token
from stepmark.grading.tree import (
    MINUS_ONE,
    REALS,
    Node,
    add,
    call,
    const,
    divide,
    mul,
    negate,
    num,
    power,
    sym,
)
from stepmark.grading.units import CURRENCIES, PERCENT, SCALES, UNITS, unit_of

MAX_DEPTH = 40

_ARC = {f"a{f}": f"arc{f}" for f in ("sin", "cos", "tan", "cot", "sec", "csc")}
_PLAIN_FUNCTIONS = (
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan arccot arcsec arccsc ln log lg exp sgn"
)
_FUNCTIONS = {
    **{name: name for name in (*_PLAIN_FUNCTIONS.split(), "gcd", "lcm", "max", "min", "floor", "ceil", "abs")},
    **_ARC,
    "tg": "tan",
    "ctg": "cot",
    "cosec": "csc",
    "sign": "sgn",
}
_CONSTANTS = {
    "pi": "pi",
    "e": "e",
    "i": "i",
    "infinity": "inf",
    "infty": "inf",
    "inf": "inf",
    "imath": "i",
    "oo": "inf",
}
_GLUED = re.compile(r"(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|sqrt|pi)([a-zA-Z]{0,2})")
_INVERTIBLE = ("sin", "cos", "tan", "cot", "sec", "csc")
_RELATIONS = {
    **{
        "=": "=",
        "==": "=",
        "<": "<",
        ">": ">",
        "<=": "<=",
        "=<": "<=",
        ">=": ">=",
        "!=": "!=",
        "approx": "~",
        "simeq": "~",
    },
    **{"le": "<=", "leq": "<=", "leqslant": "<=", "leqq": "<=", "lt": "<", "ge": ">=", "geq": ">=", "geqslant": ">="},
    **{
        "geqq": ">=",
        "gt": ">",
        "ne": "!=",
        "neq": "!=",
        "in": "in",
        "notin": "notin",
        "equiv": "==",
        "cong": "==",
        "sim": "sim",
    },
    **{"subset": "subset", "subseteq": "subseteq", "perp": "perp", "parallel": "parallel", "mid": "divides"},
}
_SET_OPERATORS = {"cup": "union", "bigcup": "union", "cap": "intersect", "setminus": "minus", "backslash": "minus"}
_GREEK = {"varphi": "phi", "varepsilon": "epsilon", "vartheta": "theta", "varrho": "rho"}
_ACCENTS = (
    "overline",
    "vec",
    "hat",
    "bar",
    "tilde",
    "overrightarrow",
    "widehat",
    "underline",
    "dot",
    "mathfrak",
    "mathscr",
)
_SHAPES = ("angle", "triangle", "measuredangle", "odot", "square", "nabla", "partial")
_MATRICES = ("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", "vmatrix")
_OPEN = {"(": ")", "[": "]", "langle": "rangle", "lbrack": "]"}
_ORDINAL_ENDS = (["st"], ["nd"], ["rd"], ["th"])
_VALUE_ENDS = ("}", ")", "]", "%", "!", "|", "pi")
_SMALL_WORDS = frozenset(
    [
        "is",
        "are",
        "the",
        "we",
        "it",
        "to",
        "of",
        "at",
        "by",
        "for",
        "so",
        "if",
        "on",
        "an",
        "as",
        "be",
        "or",
        "and",
        "not",
        "all",
        "any",
        "has",
        "was",
        "per",
        "no",
        "yes",
        "we",
        "he",
        "she",
        "its",
        "his",
        "her",
        "odd",
    ]
)
_DOTS = ("ldots", "cdots", "dots", "dotsc", "vdots", "...", "..")


class Parser:
    """Parses one slice of tokens. Every method consumes what it parses or raises ParseError."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self.tokens = tokens
        self.position = 0
        self.depth = 0
        self.bars = 0
        self.in_set = False
        self.currency: tuple[str, ...] = ()

    def whole(self) -> Node:
        node = self.relation()
        if self.position < len(self.tokens):
            raise ParseError(f"unexpected {self.tokens[self.position].text!r}")
        return node

    # tokens

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

    # relations, set operations, units

    def relation(self) -> Node:
        operands, operators = [self.operand()], []
        while True:
            negated = self.accept("not")
            operator = _RELATIONS.get(self.next)
            if operator is None or (operator == "divides" and self.in_set):
                break
            self.position += 1
            operators.append({"in": "notin", "=": "!="}.get(operator, operator) if negated else operator)
            operands.append(self.operand())
        return Node("relation", tuple(operands), tuple(operators)) if operators else operands[0]

    def operand(self) -> Node:
        node = self.measured()
        while (operator := _SET_OPERATORS.get(self.next)) is not None:
            self.position += 1
            right = self.measured()
            args = (*node.args, right) if node.head == operator != "minus" else (node, right)
            node = Node(operator, args)
        if self.next == ":" and not self.in_set:
            parts = [node]
            while self.accept(":"):
                parts.append(self.measured())
            node = Node("ratio", tuple(parts))
        return node

    def measured(self) -> Node:
        """An expression with its unit, if one follows or a currency precedes."""
        outer, self.currency = self.currency, ()
        node = self.sum()
        words = self.currency + self.unit_phrase()
        self.currency = outer
        while words and words[0] in SCALES:
            node, words = mul(num(SCALES[words[0]]), node), words[1:]
        if words and words[0] in PERCENT:
            node, words = Node("percent", (node,)), ()
        if not words:
            return node
        if unit_of(words) is None:
            raise ParseError("words that are no unit")
        return Node("quantity", (node,), words)

    def unit_phrase(self) -> tuple[str, ...]:
        words: list[str] = []
        while self.position < len(self.tokens):
            token = self.tokens[self.position]
            joins = (
                token.kind == "word"
                or token.text in ("$", "€", "£", "¥", "/", ".")
                or (token.text in ("cdot", "-") and words)
            )
            if (not words and not self.unitish(self.position)) or (words and not joins and token.text != "^"):
                break
            if token.kind == "word" and token.text in ("and", "or"):
                break
            words.append(token.text)
            self.position += 1
            if token.text == "^":
                braced = self.accept("{")
                words.append(self.take().text)
                if braced:
                    self.expect("}")
        return tuple(words)

    def unitish(self, position: int) -> bool:
        """Whether the token begins a unit phrase and not a factor."""
        if position == 0 or position >= len(self.tokens):
            return False
        token, before = self.tokens[position], self.tokens[position - 1]
        text = token.text
        if text in ("$", "€", "£", "¥"):
            return before.kind == "num" or before.text in _VALUE_ENDS
        if token.kind != "word" or (text in _FUNCTIONS and text != "min") or text in ("and", "or"):
            return False
        if text in PERCENT or text in SCALES:
            return True
        if text in ("st", "nd", "rd", "th"):
            return not token.spaced or token.quoted
        if text in UNITS:
            return len(text) > 1 or token.quoted or (token.spaced and before.kind == "num")
        if text in _CONSTANTS or len(text) < 2 or (_GLUED.fullmatch(text) and not token.quoted):
            return False
        if token.quoted:
            return not text.isupper()
        ends = before.kind == "num" or before.text in _VALUE_ENDS
        return ends and token.spaced and len(text) > 2 and text.islower()

    # arithmetic

    def sum(self) -> Node:
        terms = [self.product()]
        while True:
            if self.accept("+"):
                terms.append(self.product())
            elif self.accept("-"):
                terms.append(negate(self.product()))
            elif (sign := self.next) in ("pm", "mp"):
                self.position += 1
                terms.append(Node("pm", (self.product(),), "+" if sign == "pm" else "-"))
            else:
                return add(*terms)

    def product(self) -> Node:
        if self.accept("-"):
            return negate(self.product())
        if self.accept("+"):
            return self.product()
        if (sign := self.next) in ("pm", "mp"):
            self.position += 1
            return Node("pm", (self.product(),), "+" if sign == "pm" else "-")
        node = self.factor()
        while True:
            if self.accept("*", "cdot", "times", "ast"):
                node = self.times(node, self.signed_factor())
            elif self.accept("/", "div"):
                node = divide(node, self.denominator())
            elif self.starts_factor():
                node = self.juxtapose(node)
            else:
                return node

    def times(self, a: Node, b: Node) -> Node:
        return Node("mul", (*a.args, b)) if a.head == "mul" else Node("mul", (a, b))

    def signed_factor(self) -> Node:
        if self.accept("-"):
            return negate(self.signed_factor())
        self.accept("+")
        return self.factor()

    def denominator(self) -> Node:
        first = self.tokens[self.position] if self.position < len(self.tokens) else None
        node = self.signed_factor()
        if first is not None and (first.kind == "word" or first.text in ("pi", "sqrt")):
            while self.starts_factor() and not self.tokens[self.position].spaced and self.next != "(":
                node = self.times(node, self.factor())
        return node

    def juxtapose(self, left: Node) -> Node:
        """Implicit multiplication, or the fraction of a mixed number."""
        token, before = self.tokens[self.position], self.tokens[self.position - 1]
        whole = left.head == "num" and left.places is None and before.kind == "num"
        if token.kind == "num" and before.kind == "num":
            if whole and self.position + 2 < len(self.tokens) and self.tokens[self.position + 1].text == "/":
                top, _, bottom = self.take(), self.take(), self.take()
                if bottom.number and top.number is not None and top.number < bottom.number and not bottom.places:
                    return num(left.value + top.number / bottom.number)
            raise ParseError("two numbers side by side")
        right = self.factor()
        if whole and token.text in ("frac", "dfrac", "tfrac", "cfrac") and right.head == "num" and 0 < right.value < 1:
            return num(left.value + right.value)
        return self.times(left, right)

    def starts_factor(self) -> bool:
        if self.position >= len(self.tokens):
            return False
        kind, text, *_ = self.tokens[self.position]
        if kind == "num":
            return True
        if kind == "word":
            return text not in ("and", "or") and not self.unitish(self.position)
        if kind == "op":
            return text in ("(", "[", "{") or (text == "|" and not self.bars and not self.in_set)
        return text not in _NO_FACTOR and text != "$" and not (text in ("vert", "rvert") and self.bars)

    def factor(self) -> Node:
        """A primary with its postfixes and its exponent."""
        node = self.primary()
        while True:
            if self.accept("!"):
                node = call("factorial2" if self.accept("!") else "factorial", node)
            elif self.accept("%"):
                node = Node("percent", (node,))
            elif self.next == "^":
                self.position += 1
                node = self.raised(node)
            elif self.accept("degree"):
                node = mul(node, const("deg"))
            elif self.accept("'"):
                node = sym(node.name + "'") if node.head == "sym" else call("prime", node)
            else:
                return node

    def raised(self, base: Node) -> Node:
        braced = self.next == "{"
        if [token.text for token in self.tokens[self.position + braced : self.position + braced + 1]][
            0:1
        ] in _ORDINAL_ENDS:
            self.position += 1 + 2 * braced
            return Node("quantity", (base,), ("th",))
        if self.tokens[self.position + braced : self.position + braced + 1] and self.tokens[
            self.position + braced
        ].text in (
            "circ",
            "prime",
        ):
            mark = self.tokens[self.position + braced].text
            self.position += 1 + braced
            if braced:
                self.expect("}")
            if mark == "prime":
                return sym(base.name + "'") if base.head == "sym" else call("prime", base)
            token = self.tokens[self.position] if self.position < len(self.tokens) else None
            if token is not None and token.text in ("C", "F"):
                self.position += 1
                return Node("quantity", (base,), ("celsius" if token.text == "C" else "fahrenheit",))
            return mul(base, const("deg"))
        return power(base, self.script())

    def script(self) -> Node:
        """The exponent after `^`: a braced expression or one signed factor."""
        self.enter()
        node = self.braced() if self.next == "{" else negate(self.script()) if self.accept("-") else self.exponent()
        self.depth -= 1
        return node

    def exponent(self) -> Node:
        node = self.primary()
        if self.accept("^"):
            return self.raised(node)
        return call("factorial", node) if self.accept("!") else node

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
        if self.position < len(self.tokens):
            token = self.tokens[self.position]
            if token.kind == "num" and len(token.text) > 1 and token.text.isdecimal():
                rest = token._replace(text=token.text[1:], number=Fraction(int(token.text[1:])), spaced=False)
                self.tokens = [*self.tokens[: self.position], rest, *self.tokens[self.position + 1 :]]
                return num(int(token.text[0]))
            if token.kind == "word" and len(token.text) > 1:
                rest = token._replace(text=token.text[1:], spaced=False)
                self.tokens = [*self.tokens[: self.position], rest, *self.tokens[self.position + 1 :]]
                return letters(token.text[0])
        return self.primary()

    def enter(self) -> None:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ParseError(f"nested deeper than {MAX_DEPTH}")

    # primaries

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
            if base.isdecimal() and 2 <= int(base[:3]) <= 36 and token.places is None:
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

    def subscript(self) -> str:
        if not self.accept("{"):
            token = self.take()
            if len(token.text) > 1 and token.kind == "num":
                return token.text
            if token.kind == "word" and len(token.text) > 1:
                self.position -= 1
                self.tokens = [
                    *self.tokens[: self.position],
                    token._replace(text=token.text[1:], spaced=False),
                    *self.tokens[self.position + 1 :],
                ]
                return token.text[0]
            return token.text
        depth, parts = 1, list[str]()
        while True:
            text = self.take().text
            depth += (text == "{") - (text == "}")
            if not depth:
                return "".join(parts)
            parts.append(text)

    def word(self, token: Token) -> Node:
        text = token.text
        if text in _FUNCTIONS and (text not in ("max", "min") or self.next in ("(", "{")):
            return self.function(_FUNCTIONS[text])
        if text == "sqrt":
            return power(self.primary(), num(Fraction(1, 2)))
        if text in _CONSTANTS:
            return const(_CONSTANTS[text])
        if len(text) == 1:
            return self.named(text)
        if text.isupper():
            return self.named(text)
        if (glued := _GLUED.fullmatch(text)) is not None and not token.quoted and glued[2]:
            if glued[1] == "pi":
                return mul(const("pi"), letters(glued[2]))
            return (
                call(glued[1], letters(glued[2]))
                if glued[1] != "sqrt"
                else power(letters(glued[2]), num(Fraction(1, 2)))
            )
        if len(text) <= 3 and not token.quoted and text.casefold() not in _SMALL_WORDS:
            return mul(*(letters(letter) for letter in text[:-1]), self.named(text[-1]))
        raise ParseError(f"the word {text!r}")

    def named(self, text: str) -> Node:
        """A letter with its subscript, applied if it is f, g or h before a parenthesis."""
        if self.accept("_"):
            text += "_" + self.subscript()
        elif text in ("e", "i"):
            return const(text)
        while self.accept("'"):
            text += "'"
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
            if exponent == MINUS_ONE and name in _INVERTIBLE:
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
            if token.text in _FUNCTIONS:
                break
            node = self.juxtapose(node)
        self.depth -= 1
        return (node,)

    def symbolic(self, token: Token) -> Node:
        text = token.text
        if text in _OPEN:
            return self.bracketed(text)
        if text == "{":
            return self.group()
        if text in ("|", "vert", "lvert", "Vert", "lVert"):
            return self.absolute(text)
        if text in CURRENCIES:
            self.currency = (CURRENCIES[text],)
            return self.primary()
        if text in _DOTS:
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
        if text in _FUNCTIONS:
            return self.function(_FUNCTIONS[text])
        if text in _CONSTANTS:
            return const(_CONSTANTS[text])
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
        if text in _ACCENTS:
            braced = self.accept("{")
            name = text + ":" + self.take().text
            if braced:
                while not self.accept("}"):
                    name += self.take().text
            return self.named(name)
        if text in _SHAPES:
            inner = self.primary()
            name = inner.name if inner.head == "sym" else "".join(str(part.leaf) for part in inner.args)
            return sym(f"{text} {name}")
        if text in ("sum", "prod", "int", "lim"):
            return self.big(text)
        if text in _NO_FACTOR or not text.isalpha():
            raise ParseError(f"unexpected \\{text}")
        return self.named("\\" + _GREEK.get(text, text))

    def bracketed(self, opening: str) -> Node:
        in_set, bars, self.in_set, self.bars = self.in_set, self.bars, False, 0
        items = [self.relation()]
        while self.accept(",", ";"):
            items.append(self.relation())
        self.in_set, self.bars = in_set, bars
        angled = opening == "langle"
        closing = self.take().text
        if closing != "rangle" if angled else closing not in (")", "]", "rbrack"):
            raise ParseError(f"expected {_OPEN[opening]!r}")
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
        if name not in _MATRICES:
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
                inner = Parser(self.tokens[start:end])
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


_NO_FACTOR = frozenset((*_RELATIONS, *_SET_OPERATORS)).union(
    "} \\ rbrace rfloor rceil rvert rVert rangle end & pm mp cdot times ast div choose to rightarrow Rightarrow implies".split(),
    "iff pmod mod bmod not quad hline circ degree prime % # _ land lor wedge vee therefore colon and blank hyphen".split(),
    ("number",),
)
