"""Two scalars with their units: exact arithmetic, then decimals, then evaluation, then symbolic work."""

from fractions import Fraction
from math import floor
from typing import NamedTuple

from stepmark.grading import algebra, numeric, symbolic
from stepmark.grading.policy import Policy
from stepmark.grading.tree import BIG, Node, add, mul, negate, num
from stepmark.grading.units import Unit, agree, unit_of


class Outcome(NamedTuple):
    """Whether two trees are equal (None: undecided), and why."""

    equal: bool | None
    reason: str


FLOAT_DIGITS = 12
"""a decimal that shows so many significant digits may be a floating-point number with noise in its last digits"""
_NOISE = Fraction(1, 10**12)
_NO_UNIT = Unit(Fraction(1), ())


def same(a: Node, b: Node, policy: Policy) -> Outcome:
    """Whether two scalars, each perhaps with a unit, a degree or a percent sign, are equal."""
    a, unit_a = _parted(a)
    b, unit_b = _parted(b)
    factor = agree(unit_a, unit_b)
    if factor is None:
        return Outcome(False, "different units")
    if unit_a.nouns and unit_b.nouns and not unit_a.dimensions and not set(unit_a.nouns) & set(unit_b.nouns):
        outcome = same(a, b, policy)
        return Outcome(None, "numbers of different things") if outcome.equal else outcome
    if factor != 1:
        a = mul(num(factor), a)
    if (a.head == "percent") != (b.head == "percent"):
        plain, percent = (b, a.args[0]) if a.head == "percent" else (a, b.args[0])
        value = _values(plain, mul(percent, num(Fraction(1, 100))), policy)
        if not value.equal and policy.percent_as_number and _values(plain, percent, policy).equal:
            return Outcome(True, "the same number, one with a percent sign")
        return value
    if a.head == b.head == "percent":
        return _values(a.args[0], b.args[0], policy)
    degrees_a, degrees_b = _degrees(a), _degrees(b)
    if (degrees_a is None) != (degrees_b is None):
        if unit_a.dimensions or unit_b.dimensions:
            return Outcome(False, "different units")
        value = _values(a, b, policy)
        bare = _values(a if degrees_a is None else degrees_a, b if degrees_b is None else degrees_b, policy)
        return Outcome(True, "the same number, one in degrees") if bare.equal and not value.equal else value
    return _values(a, b, policy)


def _parted(node: Node) -> tuple[Node, Unit]:
    """A scalar without its unit, and the unit. Degrees in words are degrees."""
    if node.head != "quantity":
        return node, _NO_UNIT
    unit = unit_of(node.words) or _NO_UNIT
    if unit.dimensions == (("degree", 1),):
        return mul(node.args[0], Node("const", (), "deg")), _NO_UNIT
    if unit.dimensions == (("radian", 1),):
        return node.args[0], _NO_UNIT
    return node.args[0], unit


def _degrees(node: Node) -> Node | None:
    """The number of degrees of an angle that is written in degrees."""
    if node.head == "mul" and node.args[-1].leaf == "deg":
        return mul(*node.args[:-1])
    if node.head == "mul" and node.args[0] == num(-1) and (inner := _degrees(node.args[1])) is not None:
        return negate(inner)
    return None


def _values(a: Node, b: Node, policy: Policy) -> Outcome:
    try:
        exact = _exact(a, b)
    except algebra.Undefined as error:
        return Outcome(None, str(error))
    if exact:
        return Outcome(True, "equal exactly")
    if (rounded := _rounded(a, b, policy)) is not None:
        return rounded
    if exact is False:
        return Outcome(False, "different values")
    if _infinite(a) or _infinite(b):
        return _with_infinity(a, b)
    numerically = numeric.same(a, b)
    if numerically is not None:
        return Outcome(numerically, "equal at every point tried" if numerically else "different values at a point")
    symbolically = symbolic.is_zero(add(a, negate(b)))
    if symbolically.equal is None:
        return Outcome(None, symbolically.reason)
    return Outcome(symbolically.equal, symbolically.reason)


def _infinite(node: Node) -> bool:
    """Whether infinity occurs in a scalar, other than as the bound of a sum or integral."""
    return node.leaf == "inf" or (node.head not in BIG and any(map(_infinite, node.args)))


def _with_infinity(a: Node, b: Node) -> Outcome:
    values = [numeric.constant(node) if _infinite(node) else 0.0 for node in (a, b)]
    if None in values:
        return Outcome(None, "arithmetic with infinity")
    return Outcome(values[0] == values[1], "infinite alike" if values[0] == values[1] else "one is infinite")


def _exact(a: Node, b: Node) -> bool | None:
    if a.head == b.head == "num":
        return a.value == b.value
    return algebra.same(a, b)


def _rounded(a: Node, b: Node, policy: Policy) -> Outcome | None:
    """The verdict of a decimal against a value that is not equal to it; None where neither is one decimal literal."""
    if (a.places is None) == (b.places is None):
        if a.places is None or a.head != "num" or b.head != "num":
            return None
        noise = max(_digits(a), _digits(b)) >= FLOAT_DIGITS and _close(a.value, b.value)
        return Outcome(noise, "equal but for floating-point noise" if noise else "different decimals")
    literal, other = (a, b) if a.places is not None else (b, a)
    if literal.head != "num":
        return None
    places, shown, digits = literal.places or 0, literal.value, _digits(literal)
    value = algebra.rational(other)
    if value is None:
        value = numeric.decimal(other, places + 30)
    if value is None:
        return None
    if digits >= FLOAT_DIGITS and _close(value, shown):
        return Outcome(True, "equal but for floating-point noise")
    if value.denominator == 1 or not 0 < policy.decimal_digits <= digits or places == 0:
        return Outcome(False, "a decimal that is not the exact value")
    scaled, size = abs(value) * 10**places, abs(shown) * 10**places
    if (value < 0) == (shown < 0) and size in (floor(scaled), floor(scaled + Fraction(1, 2))):
        return Outcome(True, f"equal to {digits} significant digits")
    return Outcome(False, "a decimal that is not the exact value rounded")


def _digits(literal: Node) -> int:
    """The significant digits that a decimal shows."""
    return len(str(abs(literal.value.numerator * 10 ** (literal.places or 0) // literal.value.denominator)).lstrip("0"))


def _close(a: Fraction, b: Fraction) -> bool:
    return abs(a - b) <= _NOISE * max(abs(a), abs(b))
