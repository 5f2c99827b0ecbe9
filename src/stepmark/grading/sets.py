"""Sets of real numbers: intervals, unions, complements, and the solutions of inequalities in one unknown.

A set is a sequence of pieces in increasing order that neither touch nor overlap. Linear and quadratic inequalities,
absolute values and chains are solved; the unknown may be any name (`f(x)`, `AB`). What cannot be solved is None.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from stepmark.grading import algebra, numeric
from stepmark.grading.forms import is_name
from stepmark.grading.tree import (
    INFINITY,
    MINUS_INFINITY,
    REALS,
    Node,
    add,
    divide,
    negate,
    num,
    power,
    symbols,
)

_FLIP = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "!=": "!=", "=": "="}


@dataclass(frozen=True, slots=True)
class Piece:
    """An interval; a point is closed at both ends. `at_low`, `at_high` order it, the nodes are its exact ends."""

    low: Node
    high: Node
    low_closed: bool
    high_closed: bool

    @property
    def at_low(self) -> float:
        return _position(self.low)

    @property
    def at_high(self) -> float:
        return _position(self.high)


Pieces = tuple[Piece, ...]
LINE: Pieces = (Piece(MINUS_INFINITY, INFINITY, False, False),)


class Unsolved(Exception):
    """A set whose pieces are not found."""


@dataclass(frozen=True, slots=True)
class Solution:
    """A set and the unknown whose values it holds, if it was written as an inequality."""

    pieces: Pieces
    unknown: Node | None = None


def solve(node: Node) -> Solution | None:
    """The set of real numbers that a tree describes, or None."""
    try:
        return _solve(node)
    except Unsolved:
        return None


def is_interval(node: Node) -> bool:
    """Whether a tree of two ends in brackets may be an interval: its ends are in order, or cannot be ordered."""
    if node.head != "tuple" or len(node.args) != 2:
        return False
    low, high = map(numeric.constant, node.args)
    return low < high if low is not None and high is not None else True


def _solve(node: Node) -> Solution:
    match node.head:
        case "tuple" if is_interval(node):
            return Solution((_interval(node.args[0], node.args[1], node.name),))
        case "field" if node == REALS:
            return Solution(LINE)
        case "set":
            return Solution(_union([_point(arg) for arg in node.args]))
        case "union":
            return Solution(_union([piece for arg in node.args for piece in _solve(arg).pieces]))
        case "intersect":
            return Solution(_intersection([_solve(arg).pieces for arg in node.args]))
        case "minus":
            left, right = (_solve(arg).pieces for arg in node.args)
            return Solution(_intersection([left, _complement(right)]))
        case "builder":
            subject, *conditions = node.args
            if subject.head == "relation" and subject.words == ("in",) and subject.args[1] == REALS:
                subject = subject.args[0]
            return Solution(_joined([_solve(condition) for condition in conditions], every=True).pieces)
        case "relation":
            return _relation(node)
        case "list" if any(item.head in ("relation", "quantifier") for item in node.args):
            return _joined([_solve(item) for item in node.args], every=node.leaf != "or")
        case "define":
            return Solution(_union([_point(node.args[1])]), node.args[0])
    raise Unsolved


def _joined(parts: Sequence[Solution], *, every: bool) -> Solution:
    """Conditions joined: "and" is an intersection unless that is empty, when the writer meant a union."""
    unknowns = {part.unknown for part in parts if part.unknown is not None}
    if len(unknowns) > 1:
        raise Unsolved
    union = _union([piece for part in parts for piece in part.pieces])
    common = _intersection([part.pieces for part in parts]) if every else ()
    return Solution(common or union, next(iter(unknowns), None))


def _relation(node: Node) -> Solution:
    sides, operators = node.args, node.words
    if operators == ("in",):
        return Solution(_solve(sides[1]).pieces, sides[0])
    if operators == ("notin",):
        return Solution(_complement(_solve(sides[1]).pieces), sides[0])
    parts = [_pair(a, operator, b) for a, operator, b in zip(sides, operators, sides[1:], strict=False)]
    return Solution(_intersection([part.pieces for part in parts]), _joined(parts, every=True).unknown)


def _pair(a: Node, operator: str, b: Node) -> Solution:
    if operator not in _FLIP:
        raise Unsolved
    if _is_unknown(b) and not _is_unknown(a):
        a, operator, b = b, _FLIP[operator], a
    if _is_unknown(a) and not (symbols(a) & symbols(b)):
        if a.leaf == "abs" and a.args[0].head == "sym":
            return Solution(_absolute(operator, b), a.args[0])
        return Solution(_ray(operator, b), a)
    names = symbols(a) | symbols(b)
    if len(names) != 1:
        raise Unsolved
    (name,) = names
    difference = add(a, negate(b))
    if a.head == "call" and a.leaf == "abs" and not symbols(b):
        inner = algebra.polynomial(a.args[0], name)
        if inner is None or len(inner) != 2:
            raise Unsolved
        return Solution(_shifted(_absolute(operator, b), inner), Node("sym", (), name))
    coefficients = algebra.polynomial(difference, name)
    if coefficients is None or not 2 <= len(coefficients) <= 3:
        raise Unsolved
    return Solution(_polynomial(operator, coefficients), Node("sym", (), name))


def _is_unknown(node: Node) -> bool:
    return is_name(node) and node.head not in ("tuple", "ratio", "const")


def _ray(operator: str, end: Node) -> Pieces:
    if operator in ("=", "!="):
        point = _union([_point(end)])
        return point if operator == "=" else _complement(point)
    below = operator in ("<", "<=")
    closed = operator in ("<=", ">=")
    return (Piece(MINUS_INFINITY, end, False, closed) if below else Piece(end, INFINITY, closed, False),)


def _absolute(operator: str, bound: Node) -> Pieces:
    """The x with |x| (operator) bound."""
    inside = [_ray({"<": "<", "<=": "<=", "=": "="}.get(operator, operator), bound)]
    if operator in ("<", "<="):
        return _intersection([*inside, _ray(_FLIP[operator], negate(bound))])
    if operator in (">", ">="):
        return _union([*inside[0], *_ray(_FLIP[operator], negate(bound))])
    points = _union([_point(bound), _point(negate(bound))])
    return points if operator == "=" else _complement(points)


def _shifted(pieces: Pieces, inner: list[Fraction]) -> Pieces:
    """The x for which inner[0] + inner[1] x lies in the set."""

    def back(end: Node) -> Node:
        if end in (INFINITY, MINUS_INFINITY):
            return end if inner[1] > 0 else negate(end) if end == INFINITY else INFINITY
        return divide(add(end, num(-inner[0])), num(inner[1]))

    moved = [Piece(back(p.low), back(p.high), p.low_closed, p.high_closed) for p in pieces]
    if inner[1] < 0:
        moved = [Piece(p.high, p.low, p.high_closed, p.low_closed) for p in moved]
    return _union(moved)


def _polynomial(operator: str, coefficients: list[Fraction]) -> Pieces:
    """The x at which a polynomial of degree one or two is (operator) 0."""
    lead = coefficients[-1]
    if lead < 0:
        operator = _FLIP[operator]
    c = [value / lead for value in coefficients]
    if len(c) == 2:
        return _ray(operator, num(-c[0]))
    square = c[1] * c[1] / 4 - c[0]
    above, weak = operator in (">", ">="), operator in (">=", "<=", "=")
    if square < 0:
        return LINE if above or operator == "!=" else ()
    root = power(num(square), num(Fraction(1, 2)))
    low, high = add(num(-c[1] / 2), negate(root)), add(num(-c[1] / 2), root)
    if square == 0:
        low = high = num(-c[1] / 2)
    outside = _union([*_ray("<", low), *_ray(">", high)])
    ends = _union([_point(low), _point(high)])
    inside = _intersection([_complement(outside), _complement(ends)])
    region = {"=": (), "!=": (*outside, *inside)}.get(operator, outside if above else inside)
    return _union([*region, *(ends if weak else ())])


# pieces


def _position(end: Node) -> float:
    at = numeric.constant(end)
    if at is None:
        raise Unsolved
    return at


def _interval(low: Node, high: Node, brackets: str) -> Piece:
    return Piece(low, high, brackets[0] == "[" and low != MINUS_INFINITY, brackets[1] == "]" and high != INFINITY)


def _point(node: Node) -> Piece:
    return Piece(node, node, True, True)


def _union(pieces: Sequence[Piece]) -> Pieces:
    if len(pieces) < 2:
        return tuple(pieces)
    merged: list[Piece] = []
    for piece in sorted(pieces, key=lambda p: (p.at_low, not p.low_closed)):
        last = merged[-1] if merged else None
        if (
            last is None
            or piece.at_low > last.at_high
            or (piece.at_low == last.at_high and not (piece.low_closed or last.high_closed))
        ):
            merged.append(piece)
        elif piece.at_high > last.at_high or (piece.at_high == last.at_high and piece.high_closed):
            merged[-1] = Piece(last.low, piece.high, last.low_closed, piece.high_closed)
    return tuple(merged)


def _complement(pieces: Pieces) -> Pieces:
    rest: list[Piece] = []
    low, closed = MINUS_INFINITY, False
    for piece in pieces:
        if piece.low != MINUS_INFINITY and (
            piece.at_low > _position(low) or (piece.at_low == _position(low) and closed and not piece.low_closed)
        ):
            rest.append(Piece(low, piece.low, closed, not piece.low_closed))
        low, closed = piece.high, not piece.high_closed
        if piece.high == INFINITY:
            return tuple(rest)
    return (*rest, Piece(low, INFINITY, closed and low != MINUS_INFINITY, False))


def _intersection(sets: Sequence[Pieces]) -> Pieces:
    """The common part. One chain with symbolic ends (`a < x < b`) stays a single piece."""
    rays = [piece for pieces in sets for piece in pieces]
    if (
        len(sets) == 2
        and len(rays) == 2
        and any(numeric.constant(end) is None for ray in rays for end in (ray.low, ray.high))
    ):
        up = [ray for ray in rays if ray.high == INFINITY]
        down = [ray for ray in rays if ray.low == MINUS_INFINITY]
        if len(up) == len(down) == 1:
            return (Piece(up[0].low, down[0].high, up[0].low_closed, down[0].high_closed),)
        raise Unsolved
    outside = [piece for pieces in sets for piece in _complement(pieces)]
    return _complement(_union(outside))
