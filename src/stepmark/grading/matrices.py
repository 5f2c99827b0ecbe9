"""Matrices: sums, products, multiples and determinants of literal matrices, written out entry by entry."""

from collections.abc import Callable

from stepmark.grading.tree import Node, add, mul, num

MAX_ENTRIES = 144


def is_matrix(node: Node) -> bool:
    """Whether a tree is a matrix or arithmetic with matrices."""
    return node.head == "matrix" or (node.head in ("add", "mul", "pow") and any(map(is_matrix, node.args)))


def value(node: Node) -> Node | None:
    """The matrix (or, of a determinant, the scalar) that arithmetic with literal matrices yields; None if it is
    none."""
    match node.head:
        case "matrix":
            return node if len(node.args) * len(node.args[0].args) <= MAX_ENTRIES else None
        case "add":
            return _folded([value(arg) for arg in node.args], _plus)
        case "mul":
            return _folded([value(arg) if is_matrix(arg) else arg for arg in node.args], _times)
    return None


def from_rows(node: Node) -> Node | None:
    """The matrix that nested brackets of rows of equal length mean, `[[1, 2], [3, 4]]`."""
    if node.head != "tuple" or len({len(row.args) if row.head == "tuple" else 0 for row in node.args}) != 1:
        return None
    return Node("matrix", tuple(Node("row", row.args) for row in node.args)) if node.args[0].head == "tuple" else None


def vector(node: Node) -> tuple[Node, ...] | None:
    """The entries of a matrix of one row or one column."""
    if node.head != "matrix":
        return None
    if len(node.args) == 1:
        return node.args[0].args
    return tuple(row.args[0] for row in node.args) if len(node.args[0].args) == 1 else None


def determinant(node: Node) -> Node | None:
    """The determinant of a square matrix of at most four rows, by expansion along the first row."""
    rows = [row.args for row in node.args]
    if any(len(row) != len(rows) for row in rows) or len(rows) > 4:
        return None
    return _determinant(rows)


def _determinant(rows: list[tuple[Node, ...]]) -> Node:
    if len(rows) == 1:
        return rows[0][0]
    minors = ([(*row[:j], *row[j + 1 :]) for row in rows[1:]] for j in range(len(rows)))
    return add(*(mul(num((-1) ** j), rows[0][j], _determinant(minor)) for j, minor in enumerate(minors)))


def _folded(parts: list[Node | None], join: Callable[[Node, Node], Node | None]) -> Node | None:
    total = parts[0]
    for part in parts[1:]:
        total = None if total is None or part is None else join(total, part)
    return total


def _plus(a: Node, b: Node) -> Node | None:
    if a.head != "matrix" or b.head != "matrix" or _shape(a) != _shape(b):
        return None
    return _matrix(
        [[add(x, y) for x, y in zip(r.args, s.args, strict=True)] for r, s in zip(a.args, b.args, strict=True)]
    )


def _times(a: Node, b: Node) -> Node | None:
    if a.head != "matrix" and b.head != "matrix":
        return mul(a, b)
    if a.head != "matrix":
        return _matrix([[mul(a, x) for x in row.args] for row in b.args])
    if b.head != "matrix":
        return _times(b, a)
    if _shape(a)[1] != _shape(b)[0]:
        return None
    columns = list(zip(*(row.args for row in b.args), strict=True))
    return _matrix([[add(*(mul(x, y) for x, y in zip(row.args, c, strict=True))) for c in columns] for row in a.args])


def _shape(node: Node) -> tuple[int, int]:
    return len(node.args), len(node.args[0].args)


def _matrix(rows: list[list[Node]]) -> Node:
    return Node("matrix", tuple(Node("row", tuple(row)) for row in rows))
