"""Tokens to expression trees: operators, functions, brackets, matrices, relations. Recursive descent, nothing
evaluated.

Conventions where the notation is ambiguous: `1/2x` is (1/2)x and `a/bc` is a/(bc); `x^23` is x to the 23; `\\frac12` is
1/2; `3\\frac12` is a mixed number; `f(`, `g(`, `h(` apply a function and any other letter multiplies; `e`, `i` and
`\\pi` are the constants; a run of capitals (`AB`) is one name.
"""

from itertools import pairwise

from stepmark.grading.lexer import ParseError
from stepmark.grading.notation import (
    CONSTANTS,
    FUNCTIONS,
    GLUED,
    NO_FACTOR,
    ORDINAL_ENDS,
    RELATIONS,
    SET_OPERATORS,
    VALUE_ENDS,
)
from stepmark.grading.primary import Primaries
from stepmark.grading.tree import Node, add, call, const, divide, mul, negate, num, power, sym
from stepmark.grading.units import PERCENT, SCALES, UNITS, unit_of


class Parser(Primaries):
    """Parses one slice of tokens: relations, set operations, units, arithmetic."""

    def whole(self) -> Node:
        node = self.relation()
        if self.position < len(self.tokens):
            raise ParseError(f"unexpected {self.tokens[self.position].text!r}")
        return node

    def relation(self) -> Node:
        operands, operators = [self.operand()], []
        while True:
            negated = self.accept("not")
            operator = RELATIONS.get(self.next)
            if operator is None or (operator == "divides" and self.in_set):
                break
            self.position += 1
            operators.append({"in": "notin", "=": "!="}.get(operator, operator) if negated else operator)
            operands.append(self.operand())
        return Node("relation", tuple(operands), tuple(operators)) if operators else operands[0]

    def operand(self) -> Node:
        node = self.measured()
        while (operator := SET_OPERATORS.get(self.next)) is not None:
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
        node = Node("quantity", (node,), words)
        if self.position < len(self.tokens) and self.tokens[self.position].kind == "num":
            joined = compound([node, self.measured()])
            if len(joined) > 1:
                raise ParseError("two quantities side by side")
            return joined[0]
        return node

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
            return before.kind == "num" or before.text in VALUE_ENDS
        if token.kind != "word" or (text in FUNCTIONS and text != "min") or text in ("and", "or"):
            return False
        if text in PERCENT or text in SCALES:
            return True
        if text in ("st", "nd", "rd", "th"):
            return not token.spaced or token.quoted
        if text in UNITS:
            return len(text) > 1 or token.quoted or (token.spaced and before.kind == "num")
        if text in CONSTANTS or len(text) < 2 or (GLUED.fullmatch(text) and not token.quoted):
            return False
        if token.quoted:
            return not text.isupper()
        ends = before.kind == "num" or before.text in VALUE_ENDS
        return ends and token.spaced and len(text) > 2 and text.islower()

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
        """Implicit multiplication, or the fraction of a mixed number. A number multiplies only from the left."""
        token, before = self.tokens[self.position], self.tokens[self.position - 1]
        whole = left.head == "num" and left.places is None and before.kind == "num"
        if token.kind == "num" and before.text != "!":
            if whole and [part.text for part in self.tokens[self.position + 1 :][:1]] == ["/"]:
                top, _, bottom = self.take(), self.take(), self.take()
                if bottom.number and top.number is not None and top.number < bottom.number and not bottom.places:
                    return num(left.value + top.number / bottom.number)
            raise ParseError("a number right after a factor")
        right = self.factor()
        if whole and token.text in ("frac", "dfrac", "tfrac", "cfrac") and right.head == "num":
            if not 0 < right.value < 1:
                raise ParseError("a mixed number whose fraction is not below one")
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
        return text not in NO_FACTOR and text != "$" and not (text in ("vert", "rvert") and self.bars)

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
        """A base with what stands after `^`: a degree sign, a prime, the end of an ordinal, or an exponent."""
        braced = self.next == "{"
        mark = "".join(token.text for token in self.tokens[self.position + braced :][:1])
        if mark not in ("circ", "prime", *ORDINAL_ENDS):
            return power(base, self.script())
        self.position += 1 + braced
        if braced:
            self.expect("}")
        if mark in ORDINAL_ENDS:
            return Node("quantity", (base,), ("th",))
        if mark == "prime":
            return sym(base.name + "'") if base.head == "sym" else call("prime", base)
        scale = "".join(token.text for token in self.tokens[self.position :][:1])
        if scale in ("C", "F"):
            self.position += 1
            return Node("quantity", (base,), ("celsius" if scale == "C" else "fahrenheit",))
        return mul(base, const("deg"))

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


def compound(items: list[Node]) -> list[Node]:
    """`6 hours and 30 minutes` is one quantity: measures of one dimension in falling units add up."""
    units = [unit_of(item.words) if item.head == "quantity" else None for item in items]
    first = units[0]
    if len(items) < 2 or first is None or not first.dimensions:
        return items
    scales = [unit.scale for unit in units if unit is not None and unit.dimensions == first.dimensions]
    if len(scales) < len(items) or any(low >= high for high, low in pairwise(scales)):
        return items
    parts = (mul(num(scale / first.scale), item.args[0]) for scale, item in zip(scales, items, strict=True))
    return [Node("quantity", (add(*parts),), items[0].leaf)]
