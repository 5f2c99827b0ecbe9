"""The expression tree of an answer: what the parser makes and everything else reads.

A node has a head, arguments and, at leaves, a value.

scalars     `num` (leaf: Fraction; `places` where it was written as a decimal), `sym` (leaf: name), `const` (leaf: pi,
            e, i, inf, deg), `add`, `mul`, `pow`, `call` (leaf: function), `pm` (leaf: `+` for ±, `-` for ∓)
big         `sum`, `prod` (body, variable, low, high), `int` (body, variable[, low, high]), `lim` (body, variable,
            point)
forms       `tuple` (leaf: its two brackets), `set`, `builder`, `list` (leaf: separator), `matrix` of `row`s,
            `relation` (leaf: the operators between its arguments), `union`, `intersect`, `minus`, `field` (leaf: R,
            Z, ...), `ratio`, `based` (leaf: digits, base), `percent`, `quantity` (leaf: its unit's words), `mod`,
            `time` (leaf: hours, minutes, seconds, am or pm), `text`, and what `forms` adds
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

Leaf = Fraction | str | tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Node:
    """One node of an answer's tree."""

    head: str
    args: tuple["Node", ...] = ()
    leaf: Leaf = None
    places: int | None = None
    """of a `num` that was written as a decimal: digits after the point"""

    @property
    def name(self) -> str:
        """The leaf of a node whose leaf is a string."""
        assert isinstance(self.leaf, str)
        return self.leaf

    @property
    def words(self) -> tuple[str, ...]:
        """The leaf of a node whose leaf is a tuple of strings."""
        assert isinstance(self.leaf, tuple)
        return self.leaf

    @property
    def value(self) -> Fraction:
        """The leaf of a number."""
        assert isinstance(self.leaf, Fraction)
        return self.leaf

    def walk(self) -> Iterator["Node"]:
        """The node and everything below it."""
        yield self
        for arg in self.args:
            yield from arg.walk()


def num(value: Fraction | int, places: int | None = None) -> Node:
    return Node("num", (), Fraction(value), places)


def sym(name: str) -> Node:
    return Node("sym", (), name)


def const(name: str) -> Node:
    return Node("const", (), name)


def call(function: str, *args: Node) -> Node:
    return Node("call", args, function)


def add(*args: Node) -> Node:
    return args[0] if len(args) == 1 else Node("add", args)


def mul(*args: Node) -> Node:
    return args[0] if len(args) == 1 else Node("mul", args)


def power(base: Node, exponent: Node) -> Node:
    return Node("pow", (base, exponent))


def divide(a: Node, b: Node) -> Node:
    if a.head == b.head == "num" and b.value and a.places is None and b.places is None:
        return num(a.value / b.value)
    return Node("mul", (a, power(b, MINUS_ONE)))


def negate(a: Node) -> Node:
    return num(-a.value, a.places) if a.head == "num" else Node("mul", (MINUS_ONE, a))


def depth(node: Node) -> int:
    """The number of levels of a tree, counted without recursion."""
    level, levels = [node], 0
    while level:
        level, levels = [arg for parent in level for arg in parent.args], levels + 1
    return levels


def symbols(node: Node) -> frozenset[str]:
    """The names of the free symbols below a node, those bound by sums, integrals and limits left out."""
    if node.head == "sym":
        return frozenset((node.name,))
    if node.head in BIG:
        body, variable, *bounds = node.args
        inside = symbols(body) - {variable.name}
        return inside.union(*(symbols(bound) for bound in bounds))
    return frozenset().union(*(symbols(arg) for arg in node.args)) if node.args else frozenset()


def substitute(node: Node, name: str, value: Node) -> Node:
    """The tree with every symbol of that name replaced."""
    if node.head == "sym":
        return value if node.leaf == name else node
    if not node.args:
        return node
    return Node(node.head, tuple(substitute(arg, name, value) for arg in node.args), node.leaf, node.places)


def unknown_function(name: str) -> bool:
    """Whether a function's name is a letter (`f`, `g_1`, `h'`) and not one that we know."""
    return name[0] in "fgh" and (len(name) == 1 or name[1] in "_'")


BIG = ("sum", "prod", "int", "lim")
MINUS_ONE = num(-1)
INFINITY = const("inf")
MINUS_INFINITY = Node("mul", (MINUS_ONE, INFINITY))
EMPTY = Node("set")
"""the empty set: also what `no solution` means"""
REALS = Node("field", (), "R")
