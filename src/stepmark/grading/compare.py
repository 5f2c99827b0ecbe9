"""Whether two trees of answers are equal. Symmetric: the caller puts each pair in one order.

Text decides nothing that mathematics can: trees are compared by what they mean. Lists are unordered unless they
contain an ellipsis, tuples are ordered; a bare list equals a tuple of the same entries in the same order. A name
before a value (`x = 3`, `f(t) = 2t`) may be left out; two names must be the same, but for the name of a function's
argument. An inequality equals the interval of its solutions. Undecided parts make the whole undecided, unless another
part differs.
"""

from collections.abc import Iterator, Sequence
from itertools import product

from stepmark.grading import algebra, kinds, matrices, numeric, scalars, sets
from stepmark.grading.forms import INTEGER
from stepmark.grading.policy import Policy
from stepmark.grading.scalars import Outcome
from stepmark.grading.tree import EMPTY, Node, add, negate, substitute, sym, symbols, unknown_function

MAX_ITEMS = 200
MAX_SIGNS = 3
_RELATIONAL = frozenset(("relation", "union", "intersect", "minus", "builder", "field"))
_INTEGER_LETTERS = frozenset(("k", "n", "m", "l", "z"))
_CONSTANT_LETTERS = frozenset(("c", "k", "C", "K", "\\lambda"))


def same(a: Node, b: Node, policy: Policy) -> Outcome:
    """Whether two answers are equal."""
    if a == b:
        return Outcome(True, "the same once parsed")
    heads = {a.head, b.head}
    if "unread" in heads:
        return kinds.unread(a, b)
    if "matrix" in heads:
        a, b = matrices.from_rows(a) or a, matrices.from_rows(b) or b
    a, b = _spread(a), _spread(b)
    heads = {a.head, b.head}
    for kind, compare in _CASCADE:
        if kind & heads:
            outcome = compare(a, b, policy)
            if outcome is not None:
                return outcome
    return scalars.same(a, b, policy)


def with_common_integers(a: Node, b: Node) -> tuple[Node, Node]:
    """Two families of solutions, `2k\\pi, k \\in \\mathbb{Z}` and `2n\\pi`, with one name for their integer."""
    only_a, only_b = symbols(a) - symbols(b), symbols(b) - symbols(a)
    if INTEGER in only_a and len(letters := only_b & _INTEGER_LETTERS) == 1:
        return a, substitute(b, next(iter(letters)), sym(INTEGER))
    if INTEGER in only_b and len(letters := only_a & _INTEGER_LETTERS) == 1:
        return substitute(a, next(iter(letters)), sym(INTEGER)), b
    return a, b


# signs and nesting


def _spread(node: Node) -> Node:
    """Both signs of ± written out, nested lists flattened, determinants and matrix arithmetic written out."""
    if node.head in ("list", "set"):
        items = [inner for item in node.args for inner in _items(_spread(item), node.head)]
        if len(items) == 1 and node.head == "list":
            return items[0]
        return Node(node.head, tuple(items), node.leaf) if tuple(items) != node.args else node
    if any(part.head == "pm" for part in node.walk()):
        variants = _signed(node)
        if variants:
            return Node("list", tuple(dict.fromkeys(variants)), ",")
    if node.head == "call" and node.leaf == "det":
        return matrices.determinant(node.args[0]) or node
    if node.head != "matrix" and matrices.is_matrix(node):
        return matrices.value(node) or node
    if node.head == "tuple" and node.leaf == "[]" and node.args[0].head in ("tuple", "set"):
        return Node("list", node.args, ",")
    return node


def _items(node: Node, head: str) -> tuple[Node, ...]:
    flatten = node.head == "list" and (head == "set" or not _records(node)) and node.leaf != ";"
    return node.args if flatten else (node,)


def _signed(node: Node) -> list[Node]:
    """Every choice of signs: independent ones for several ±, opposite ones for ± with ∓."""
    marks = [part for part in node.walk() if part.head == "pm"]
    if len(marks) > MAX_SIGNS:
        return []
    coupled = len({part.leaf for part in marks}) > 1
    choices = [(1,) * len(marks), (-1,) * len(marks)] if coupled else list(product((1, -1), repeat=len(marks)))
    return [_choose(node, iter(choice)) for choice in choices]


def _choose(node: Node, signs: Iterator[int]) -> Node:
    if node.head == "pm":
        sign = next(signs) * (1 if node.leaf == "+" else -1)
        inner = _choose(node.args[0], signs)
        return inner if sign > 0 else negate(inner)
    if not node.args:
        return node
    return Node(node.head, tuple(_choose(arg, signs) for arg in node.args), node.leaf, node.places)


# names


def _records(node: Node) -> bool:
    """A list of values under different names: `x = 1, y = 2`."""
    if node.head != "list" or any(item.head != "define" for item in node.args):
        return False
    names = [item.args[0] for item in node.args]
    return len(set(names)) == len(names) > 1 and not _indexed(names)


def _indexed(names: Sequence[Node]) -> bool:
    """`x_1, x_2`: solutions of one unknown, numbered."""
    return all(name.head == "sym" and "_" in name.name for name in names) and len({name.name[0] for name in names}) == 1


def _defined(a: Node, b: Node, policy: Policy) -> Outcome | None:
    """Definitions against definitions, equations, lists of values, and bare values."""
    if a.head != "define":
        a, b = b, a
    name, value = a.args
    if b.head == "define":
        return _two_definitions(a, b, policy)
    if b.head == "equation":
        return kinds.equations(a, b, policy)
    if name.head == "tuple" and value.head == "tuple" and len(name.args) == len(value.args):
        record = Node("list", tuple(Node("define", pair) for pair in zip(name.args, value.args, strict=True)), ",")
        if b.head == "list" and any(item.head == "define" for item in b.args):
            return same(record, b, policy)
    if b.head == "relation" or (b.head == "list" and any(item.head == "define" for item in b.args)):
        return None
    return same(value, b, policy)


def _two_definitions(a: Node, b: Node, policy: Policy) -> Outcome:
    (name_a, value_a), (name_b, value_b) = a.args, b.args
    head_a, head_b = _function(name_a), _function(name_b)
    if name_a == name_b and head_a is None:
        return same(value_a, value_b, policy)
    if head_a is not None and head_b is not None and head_a[0] == head_b[0] and len(head_a[1]) == len(head_b[1]):
        return same(*_renamed(head_a[1], value_a, head_b[1], value_b), policy)
    graph = {name for name in (name_a, name_b) if name == sym("y")}
    if graph and (head_a is not None or head_b is not None):
        return same(value_a, value_b, policy)
    if name_a.head == name_b.head == "tuple":
        if set(name_a.args) == set(name_b.args) and value_a.head == value_b.head == "tuple":
            return same(_record(a), _record(b), policy)
        return same(value_a, value_b, policy)
    if name_a.head == "ratio" and name_b.head == "ratio":
        return same(value_a, value_b, policy)
    if kinds.is_scalar(value_a) and kinds.is_scalar(value_b):
        outcome = kinds.equations(a, b, policy)
        if outcome.equal:
            return outcome
    if _plain_name(name_a) == _plain_name(name_b):
        return same(value_a, value_b, policy)
    return Outcome(False, "different names")


def _record(node: Node) -> Node:
    name, value = node.args
    return Node("list", tuple(Node("define", pair) for pair in zip(name.args, value.args, strict=True)), ",")


def _plain_name(name: Node) -> str:
    """A name without accents, bars and shapes: |AB| and \\overline{AB} are AB."""
    parts = [str(part.leaf).split(":")[-1].split(" ")[-1] for part in name.walk() if part.head in ("sym", "const")]
    return "".join(sorted(parts)) if name.head in ("mul", "sym", "const") or name.leaf == "abs" else repr(name)


def _function(name: Node) -> tuple[str, tuple[Node, ...]] | None:
    """The letter and the argument symbols of a function's head, `f(x)` or `P(x, y)`."""
    if name.head == "call" and unknown_function(name.name) and all(arg.head == "sym" for arg in name.args):
        return name.name, name.args
    if name.head == "mul" and len(name.args) == 2 and all(arg.head == "sym" for arg in name.args):
        return name.args[0].name, (name.args[1],)
    return None


def _renamed(args_a: tuple[Node, ...], a: Node, args_b: tuple[Node, ...], b: Node) -> tuple[Node, Node]:
    """Two bodies with common names for their arguments, and for one arbitrary constant (c, k, ...) each."""
    for n, (x, y) in enumerate(zip(args_a, args_b, strict=True)):
        a, b = substitute(a, x.name, sym(f"\\argument{n}")), substitute(b, y.name, sym(f"\\argument{n}"))
    only_a, only_b = symbols(a) - symbols(b), symbols(b) - symbols(a)
    if len(only_a) == len(only_b) == 1 and only_a | only_b <= _CONSTANT_LETTERS:
        b = substitute(b, next(iter(only_b)), sym(next(iter(only_a))))
    return a, b


# collections


def _collections(a: Node, b: Node, policy: Policy) -> Outcome | None:
    if "list" not in (a.head, b.head) and "set" not in (a.head, b.head):
        return None
    if a.head not in ("list", "set"):
        a, b = b, a
    if b.head in _RELATIONAL or any(
        item.head == "relation" for node in (a, b) for item in node.args if node.head == "list"
    ):
        return None
    if b.head == "text" or EMPTY in (a, b):
        return Outcome(False, "different sets")
    if b.head in ("list", "set"):
        named = _named_lists(a, b, policy)
        if named is not None:
            return named
        ordered = (policy.ordered and a.head == b.head == "list") or any(item == sym("...") for item in a.args)
        return _in_order(a.args, b.args, policy) if ordered else _any_order(_unique(a), _unique(b), policy)
    if b.head == "tuple":
        values = tuple(item.args[1] if item.head == "define" else item for item in a.args)
        loose = b.leaf == "[]" and (len(b.args) > 2 or not sets.is_interval(b))
        if loose and not _records(a):
            return _any_order(_unique(Node(a.head, values)), b.args, policy)
        if a.head == "set" or b.leaf != "()":
            return Outcome(False, "a set or list against a tuple or interval")
        return _in_order(values, b.args, policy)
    if a.head == "set" and len(a.args) == 1:
        return same(a.args[0], b, policy)
    entries = matrices.vector(b)
    if entries is not None and a.head == "list":
        return _in_order(a.args, entries, policy)
    if a.leaf == "=" and b.head not in ("tuple", "define"):
        return same(a.args[0].args[1], b, policy)
    return Outcome(False, f"{len(a.args)} values against one")


def _named_lists(a: Node, b: Node, policy: Policy) -> Outcome | None:
    """Lists in which values have names; None where neither has."""
    defined_a, defined_b = (all(item.head == "define" for item in node.args) for node in (a, b))
    if not (defined_a or defined_b):
        return None
    if defined_a and defined_b:
        if not _records(a) or not _records(b):
            indexed = [_indexed([item.args[0] for item in node.args]) for node in (a, b)]
            if any(indexed) and not all(indexed):
                return _any_order(_values(a), _values(b), policy)
            return _any_order(a.args, b.args, policy)
        by_name = {_plain_name(item.args[0]): item for item in b.args}
        partners = [by_name.get(_plain_name(item.args[0])) for item in a.args]
        if len(a.args) != len(b.args) or None in partners:
            return _any_order(a.args, b.args, policy)
        return kinds.every([same(x, y, policy) for x, y in zip(a.args, partners, strict=True) if y is not None])
    named, bare = (a, b) if defined_a else (b, a)
    if _records(named):
        if bare.head == "set" or any(item.head == "define" for item in bare.args):
            return Outcome(False, "named values against a set")
        return _in_order(_values(named), bare.args, policy)
    return _any_order(_values(named), bare.args, policy)


def _values(node: Node) -> tuple[Node, ...]:
    return tuple(item.args[1] for item in node.args)


def _unique(node: Node) -> tuple[Node, ...]:
    """Entries without repetition: of sets, and of lists of tuples, which are sets of solutions."""
    if node.head == "set" or all(item.head == "tuple" for item in node.args):
        return tuple(dict.fromkeys(node.args))
    return node.args


def _in_order(a: Sequence[Node], b: Sequence[Node], policy: Policy) -> Outcome:
    if len(a) != len(b):
        return Outcome(False, f"{len(a)} entries against {len(b)}")
    return kinds.every([same(x, y, policy) for x, y in zip(a, b, strict=True)])


def _any_order(a: Sequence[Node], b: Sequence[Node], policy: Policy) -> Outcome:
    """Multisets of equal size: each entry has a partner of its own."""
    if len(a) != len(b):
        return Outcome(False, f"{len(a)} entries against {len(b)}")
    if len(a) > MAX_ITEMS:
        return Outcome(None, f"more than {MAX_ITEMS} entries")
    rest, undecided = list(b), ""
    for x in a:
        for position, y in enumerate(rest):
            outcome = same(x, y, policy)
            if outcome.equal:
                del rest[position]
                break
            if outcome.equal is None:
                undecided = outcome.reason
        else:
            return Outcome(None, undecided) if undecided else Outcome(False, "an entry without an equal")
    return Outcome(True, "the same entries")


# tuples, matrices, ratios, times, bases, congruences, sets


def _tuples(a: Node, b: Node, policy: Policy) -> Outcome | None:
    if a.head != "tuple":
        a, b = b, a
    if b.head == "tuple":
        if len(a.args) != len(b.args):
            return Outcome(False, f"{len(a.args)} entries against {len(b.args)}")
        if len(a.args) == 2 and a.leaf != b.leaf:
            return Outcome(False, "different brackets: open against closed ends")
        return _in_order(a.args, b.args, policy)
    if b.head in _RELATIONAL:
        return None
    entries = matrices.vector(b)
    if entries is not None:
        return _in_order(a.args, entries, policy)
    return Outcome(False, f"{len(a.args)} entries against one value")


def _matrices(a: Node, b: Node, policy: Policy) -> Outcome:
    if a.head != b.head:
        return Outcome(False, "a matrix against something else")
    if [len(row.args) for row in a.args] != [len(row.args) for row in b.args]:
        return Outcome(False, "matrices of different shapes")
    pairs = [pair for r, s in zip(a.args, b.args, strict=True) for pair in zip(r.args, s.args, strict=True)]
    return kinds.every([same(x, y, policy) for x, y in pairs])


def _congruences(a: Node, b: Node, policy: Policy) -> Outcome:
    if a.head != "mod":
        a, b = b, a
    inner_a, inner_b = a.args[0], b.args[0] if b.head == "mod" else b
    if b.head != "mod":
        return same(inner_a.args[1] if inner_a.head == "define" else inner_a, inner_b, policy)
    modulus = same(a.args[1], b.args[1], policy)
    if not modulus.equal:
        return Outcome(modulus.equal, "different moduli")
    m = algebra.rational(a.args[1])
    x, y = (algebra.rational(inner.args[1] if inner.head == "define" else inner) for inner in (inner_a, inner_b))
    if m and x is not None and y is not None:
        return Outcome((x - y) % m == 0, "congruent" if (x - y) % m == 0 else "not congruent")
    return same(inner_a, inner_b, policy)


def _sets(a: Node, b: Node, policy: Policy) -> Outcome | None:
    """Intervals, unions and inequalities as sets of real numbers; other relations side by side."""
    x, y = (sets.solve(_as_union(node)) for node in (a, b))
    if x is not None and y is not None:
        if x.unknown is not None and y.unknown is not None and x.unknown != y.unknown:
            return Outcome(False, "inequalities for different unknowns")
        if len(x.pieces) != len(y.pieces):
            return Outcome(False, "sets with different pieces")
        outcomes = []
        for p, q in zip(x.pieces, y.pieces, strict=True):
            if (p.low_closed, p.high_closed) != (q.low_closed, q.high_closed):
                return Outcome(False, "open against closed ends")
            outcomes += [_end(p.low, q.low, policy), _end(p.high, q.high, policy)]
        return kinds.every(outcomes) if outcomes else Outcome(True, "both empty")
    if a.head == b.head == "relation":
        return _relations(a, b, policy)
    if a.head == b.head and a.leaf == b.leaf and len(a.args) == len(b.args) > 0:
        outcome = _in_order(a.args, b.args, policy)
        return outcome if outcome.equal else Outcome(None, "sets that are not solved")
    if a.head == b.head == "list":
        return _any_order(a.args, b.args, policy)
    if "field" in (a.head, b.head):
        return Outcome(False, "different sets")
    relational = [any(part.head in _RELATIONAL for part in (node, *node.args)) for node in (a, b)]
    return Outcome(None, "a set that is not solved") if all(relational) else Outcome(False, "different kinds of answer")


def _as_union(node: Node) -> Node:
    if node.head == "list" and all(sets.is_interval(item) or item.head == "union" for item in node.args):
        return Node("union", node.args)
    return node


def _end(a: Node, b: Node, policy: Policy) -> Outcome:
    infinite = [numeric.constant(end) in (float("inf"), float("-inf")) for end in (a, b)]
    if any(infinite):
        equal = numeric.constant(a) == numeric.constant(b)
        return Outcome(equal, "the same ends" if equal else "different ends")
    return scalars.same(a, b, policy)


_TURN = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}


def _relations(a: Node, b: Node, policy: Policy) -> Outcome:
    if len(a.args) != len(b.args):
        return Outcome(False, "different relations")
    turned = Node("relation", tuple(reversed(b.args)), tuple(_TURN.get(op, op) for op in reversed(b.words)))
    outcomes = [_in_order(a.args, other.args, policy) for other in (b, turned) if other.words == a.words]
    for outcome in outcomes:
        if outcome.equal:
            return outcome
    if (
        len(a.args) == 2
        and all(kinds.is_scalar(side) for side in (*a.args, *b.args))
        and all(n.words[0] in (*_TURN, "!=") for n in (a, b))
    ):
        (x, strict_x), (y, strict_y) = _one_sided(a), _one_sided(b)
        factor = numeric.proportional(x, y)
        equal = strict_x == strict_y and factor is not None and (factor > 0 or strict_x == "!=")
        return Outcome(equal, "the same inequality but for a factor" if equal else "different inequalities")
    return kinds.every(outcomes) if outcomes else Outcome(False, "different relations")


def _one_sided(node: Node) -> tuple[Node, str]:
    """An inequality as (difference, `<` or `<=`), the difference on the smaller side."""
    low, high, operator = node.args[0], node.args[1], node.words[0]
    if operator in (">", ">="):
        low, high, operator = high, low, _TURN[operator]
    return add(low, negate(high)), operator


_CASCADE = (
    (frozenset(("define",)), _defined),
    (frozenset(("list", "set")), _collections),
    (frozenset(("text",)), kinds.texts),
    (frozenset(("based",)), kinds.based),
    (frozenset(("mod",)), _congruences),
    (frozenset(("equation",)), kinds.equations),
    (frozenset(("tuple",)), _tuples),
    (_RELATIONAL | {"list", "tuple"}, _sets),
    (frozenset(("matrix",)), _matrices),
    (frozenset(("ratio", "time")), kinds.ratios),
)
