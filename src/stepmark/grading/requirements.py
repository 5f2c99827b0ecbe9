"""What a policy demands of an answer beyond its value."""

from fractions import Fraction
from math import gcd

from stepmark.grading.forms import read
from stepmark.grading.lexer import ParseError, Token, lex
from stepmark.grading.policy import Policy
from stepmark.grading.tree import Node, num
from stepmark.grading.units import unit_of


def unmet(gold: str, answer: str, policy: Policy) -> str | None:
    """The demand that an answer of the right value does not meet, or None."""
    if policy.reduced and not _reduced(answer):
        return "a fraction that is not in lowest terms"
    gold_tree, tree = read(gold), read(answer)
    if policy.units == "required" and _measure(gold_tree) and not _measure(tree):
        return "the unit is missing"
    if policy.same_form and _shape(gold_tree) != _shape(tree):
        return "the right value in another form"
    return None


def _reduced(answer: str) -> bool:
    """Whether every fraction of two integers in the text is in lowest terms."""
    try:
        tokens = [token for token in lex(answer) if token.text not in ("{", "}")]
    except ParseError:
        return True
    for position, token in enumerate(tokens):
        if token.text in ("frac", "dfrac", "tfrac", "cfrac"):
            pair = tokens[position + 1 : position + 3]
            if pair and pair[0].kind == "num" and len(pair[0].text) == 2 and (len(pair) < 2 or pair[1].kind != "num"):
                pair = [_digit(pair[0], 0), _digit(pair[0], 1)]
        elif token.text == "/":
            pair = [*tokens[position - 1 : position], *tokens[position + 1 : position + 2]]
        else:
            continue
        if len(pair) == 2 and all(part.kind == "num" and part.text.isdecimal() for part in pair):
            top, bottom = (int(part.text) for part in pair)
            if gcd(top, bottom) > 1 or bottom == 1:
                return False
    return True


def _digit(token: Token, index: int) -> Token:
    return token._replace(text=token.text[index], number=Fraction(int(token.text[index])))


def _measure(node: Node) -> bool:
    """Whether an answer states a unit: of measurement, degrees, or percent."""
    for part in node.walk():
        if part.head == "percent" or part.leaf == "deg":
            return True
        if part.head == "quantity" and (unit := unit_of(part.words)) is not None and unit.dimensions:
            return True
    return False


def _shape(node: Node) -> object:
    """The form of a tree up to the order of terms and factors and the sign of numbers."""
    if node.head == "num":
        kind = "decimal" if node.places is not None else "integer" if node.value.denominator == 1 else "fraction"
        return kind, abs(node.value)
    parts = [_shape(arg) for arg in node.args if arg != num(-1) or node.head == "pow"]
    if node.head in ("add", "mul", "list", "set"):
        return node.head, tuple(sorted(map(repr, parts)))
    return node.head, node.leaf, tuple(parts)
