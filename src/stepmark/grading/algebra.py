"""Exact arithmetic: the normal form of a scalar as a quotient of polynomials over the rationals.

The generators ("atoms") are symbols, `pi`, `e`, `i`, and roots of primes, with rational exponents; what the
arithmetic does not know (a sine, a root of a sum, an exponential) is an opaque atom. Equal normal forms are equal
values. Different ones are different values where no opaque atom occurs: roots of different primes and monomials in
symbols are linearly independent over the rationals. Roots follow the real convention: the odd root of a negative
number is negative, and identities such as sqrt(xy) = sqrt(x) sqrt(y) hold where both sides are real.
"""

from collections.abc import Hashable, Iterable
from fractions import Fraction
from functools import lru_cache
from math import ceil, comb, factorial, floor, gcd, lcm

from stepmark.grading.tree import Node

MAX_TERMS = 300
MAX_BITS = 20_000
MAX_POWER = 10_000
MAX_FACTORIAL = 3_000

Atom = tuple[str, Hashable]
Monomial = frozenset[tuple[Atom, Fraction]]
Poly = dict[Monomial, Fraction]
Ratio = tuple[Poly, Poly]

_UNIT: Monomial = frozenset()
_ONE: Poly = {_UNIT: Fraction(1)}
_I: Atom = ("const", "i")


class TooBig(Exception):
    """A size bound was reached; nothing was evaluated."""


class Undefined(Exception):
    """Division by zero and the like."""


def same(a: Node, b: Node) -> bool | None:
    """Whether two scalars have equal normal forms; None where that decides nothing or a size bound is reached."""
    try:
        top_a, bottom_a = normal(a)
        top_b, bottom_b = normal(b)
        left, right = (top_a, top_b) if bottom_a == bottom_b else (_times(top_a, bottom_b), _times(top_b, bottom_a))
    except TooBig:
        return None
    if left == right:
        return True
    return None if any(map(_opaque, (top_a, bottom_a, top_b, bottom_b))) or _transcendental(left, right) else False


def rational(node: Node) -> Fraction | None:
    """The value of a scalar that is a rational number, or None."""
    if node.head == "num":
        return node.value
    try:
        top, bottom = normal(node)
    except (TooBig, Undefined):
        return None
    return None if not _constant(top) or not _constant(bottom) else top.get(_UNIT, Fraction(0)) / bottom[_UNIT]


def key(node: Node) -> Hashable | None:
    """A key that equal scalars share, None where the normal form is not unique."""
    try:
        top, bottom = normal(node)
    except (TooBig, Undefined):
        return None
    if _opaque(top) or not _constant(bottom):
        return None
    return frozenset((mono, c / bottom[_UNIT]) for mono, c in top.items())


def polynomial(node: Node, name: str) -> list[Fraction] | None:
    """The coefficients, lowest first, of a scalar that is a polynomial with rational coefficients in one symbol."""
    try:
        top, bottom = normal(node)
    except (TooBig, Undefined):
        return None
    if not _constant(bottom):
        return None
    coefficients = dict[int, Fraction]()
    for mono, c in top.items():
        if len(mono) > 1:
            return None
        ((atom, n),) = mono or ((("sym", name), Fraction(0)),)
        if atom != ("sym", name) or n.denominator != 1 or not 0 <= n <= MAX_TERMS:
            return None
        coefficients[int(n)] = c / bottom[_UNIT]
    return [coefficients.get(n, Fraction(0)) for n in range(max(coefficients, default=0) + 1)]


@lru_cache(maxsize=16384)
def normal(node: Node) -> Ratio:
    """The normal form of a scalar, numerator and denominator. Raises TooBig, Undefined."""
    match node.head:
        case "num":
            return _number(node.value), _ONE
        case "sym":
            return _atom(("sym", node.name)), _ONE
        case "const":
            return (
                _scaled(_atom(("const", "pi")), Fraction(1, 180)) if node.leaf == "deg" else _atom(("const", node.name))
            ), _ONE
        case "percent":
            top, bottom = normal(node.args[0])
            return _scaled(top, Fraction(1, 100)), bottom
        case "add":
            return _sum(normal(arg) for arg in node.args)
        case "mul":
            return _product(normal(arg) for arg in node.args)
        case "pow":
            return _power(node)
        case "call":
            return _call(node)
    return _atom(("opaque", node)), _ONE


def _sum(parts: Iterable[Ratio]) -> Ratio:
    top, bottom = dict[Monomial, Fraction](), _ONE
    for a, b in parts:
        if b == bottom:
            top = _plus(top, a)
        else:
            top, bottom = _plus(_times(top, b), _times(a, bottom)), _times(bottom, b)
    return top, bottom


def _product(parts: Iterable[Ratio]) -> Ratio:
    top, bottom = _ONE, _ONE
    for a, b in parts:
        top, bottom = _times(top, a), _times(bottom, b)
    return _cleared(top, bottom)


def _cleared(top: Poly, bottom: Poly) -> Ratio:
    """Divides by a denominator of one term."""
    if not bottom:
        raise Undefined("division by zero")
    if len(bottom) == 1:
        ((mono, c),) = bottom.items()
        if c != 1 or mono:
            inverse = frozenset((atom, -n) for atom, n in mono)
            return _times(top, _collected({inverse: 1 / c})), _ONE
    return top, bottom


def _power(node: Node) -> Ratio:
    base, exponent = node.args
    n = rational(exponent)
    if n is None:
        inner = normal(base)
        if inner == (_ONE, _ONE):
            return inner
        return _atom(("opaque", ("pow", _frozen(inner), _frozen(normal(exponent))))), _ONE
    top, bottom = normal(base)
    if n < 0:
        if not top:
            raise Undefined("division by zero")
        top, bottom, n = bottom, top, -n
    if n.denominator == 1:
        return _cleared(_integer_power(top, int(n)), _integer_power(bottom, int(n)))
    return _cleared(_root(top, n), _root(bottom, n))


def _integer_power(p: Poly, n: int) -> Poly:
    if n > MAX_POWER:
        raise TooBig(f"an exponent above {MAX_POWER}")
    if len(p) == 1:
        ((mono, c),) = p.items()
        if max(abs(c.numerator), c.denominator).bit_length() * n > MAX_BITS:
            raise TooBig("a power of too many digits")
        return _collected({frozenset((atom, e * n) for atom, e in mono): c**n})
    if len(p) ** min(n, 20) > 10**9 and n > 40:
        raise TooBig("a power of too many terms")
    result = _ONE
    for _ in range(n):
        result = _times(result, p)
    return result


def _root(p: Poly, n: Fraction) -> Poly:
    """p to a power that is no integer."""
    if not p:
        return {}
    if len(p) > 1 or n > MAX_POWER:
        content = _content(p)
        rest = _scaled(p, 1 / content)
        root = _root({_UNIT: content}, n) if content != 1 else _ONE
        return _times(root, _atom(("root", frozenset(rest.items())), n))
    ((mono, c),) = p.items()
    odd = n.denominator % 2 == 1
    sign = Fraction(1)
    atoms = dict[Atom, Fraction]()
    if c < 0:
        if odd:
            sign, c = Fraction(1 - 2 * (n.numerator % 2)), -c
        elif n.denominator == 2:
            atoms[_I], c = Fraction(n.numerator), -c
        else:
            return _atom(("opaque", ("root", frozenset(p.items()), n)))
    for atom, e in mono:
        if atom == _I or (not odd and atom[0] != "prime" and e.numerator % 2 == 0):
            return _atom(("opaque", ("root", frozenset(p.items()), n)))
        atoms[atom] = e * n
    for prime, multiplicity in _factors(c):
        atoms[("prime", prime)] = atoms.get(("prime", prime), Fraction(0)) + multiplicity * n
    return _collected({frozenset(atoms.items()): sign})


def _content(p: Poly) -> Fraction:
    """The positive rational that divides a polynomial into one with coprime integer coefficients."""
    return Fraction(gcd(*(c.numerator for c in p.values())), lcm(*(c.denominator for c in p.values())))


def _factors(c: Fraction) -> list[tuple[int, int]]:
    """The factorisation of a positive rational. A cofactor without small primes counts as one prime: it is at most a
    missed simplification."""
    found = dict[int, int]()
    for whole, sign in ((c.numerator, 1), (c.denominator, -1)):
        value = whole
        if value.bit_length() > 256:
            raise TooBig("a root of too many digits")
        for prime in _PRIMES:
            if prime * prime > value:
                break
            while value % prime == 0:
                value //= prime
                found[prime] = found.get(prime, 0) + sign
        if value > 1:
            root, e = _perfect_power(value)
            found[root] = found.get(root, 0) + sign * e
    return list(found.items())


def _perfect_power(value: int) -> tuple[int, int]:
    for e in (2, 3, 5, 7):
        root = round(value ** (1 / e)) if value < 2**50 else _integer_root(value, e)
        if root**e == value:
            base, inner = _perfect_power(root)
            return base, inner * e
    return value, 1


def _integer_root(value: int, e: int) -> int:
    low, high = 1, 1 << (value.bit_length() // e + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**e <= value else (low, middle - 1)
    return low


_PRIMES = [n for n in range(2, 2000) if all(n % d for d in range(2, int(n**0.5) + 1))]


def _call(node: Node) -> Ratio:
    values = [rational(arg) for arg in node.args]
    if None not in values:
        exact = _exact_call(node.name, [v for v in values if v is not None])
        if exact is not None:
            return _number(exact), _ONE
    if node.head == "call" and node.leaf == "ln" and node.args[0].leaf == "e":
        return _ONE, _ONE
    return _atom(("opaque", (node.leaf, *(_frozen(normal(arg)) for arg in node.args)))), _ONE


def _exact_call(name: str, v: list[Fraction]) -> Fraction | None:
    """The value of a function at rationals, where it is a rational that arithmetic finds."""
    whole = all(x.denominator == 1 for x in v)
    match name, len(v):
        case "abs", 1:
            return abs(v[0])
        case "floor", 1:
            return Fraction(floor(v[0]))
        case "ceil", 1:
            return Fraction(ceil(v[0]))
        case "sgn", 1:
            return Fraction((v[0] > 0) - (v[0] < 0))
        case "factorial", 1 if whole and 0 <= v[0] <= MAX_FACTORIAL:
            return Fraction(factorial(int(v[0])))
        case "factorial2", 1 if whole and 0 <= v[0] <= MAX_FACTORIAL:
            product = 1
            for n in range(int(v[0]), 1, -2):
                product *= n
            return Fraction(product)
        case "binomial", 2 if whole and 0 <= v[1] <= v[0] <= MAX_FACTORIAL:
            return Fraction(comb(int(v[0]), int(v[1])))
        case "gcd", _ if whole:
            return Fraction(gcd(*map(int, v)))
        case "lcm", _ if whole and sum(x.numerator.bit_length() for x in v) < MAX_BITS:
            return Fraction(lcm(*map(int, v)))
        case (("max" | "min"), _):
            return max(v) if name == "max" else min(v)
        case "ln", 1 if v[0] == 1:
            return Fraction(0)
    return None


# polynomials


def _number(value: Fraction) -> Poly:
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > 2 * MAX_BITS:
        raise TooBig("a number of too many digits")
    return {_UNIT: value} if value else {}


def _atom(atom: Atom, n: Fraction = Fraction(1)) -> Poly:
    return {frozenset(((atom, n),)): Fraction(1)}


def _constant(p: Poly) -> bool:
    return not p or (len(p) == 1 and _UNIT in p)


def _opaque(p: Poly) -> bool:
    return any(atom[0] in ("opaque", "root") for mono in p for atom, _ in mono)


def _transcendental(*polys: Poly) -> bool:
    """pi and e together, or i under a fractional exponent: whether they are independent is not known here."""
    names = {atom[1] for p in polys for mono in p for atom, _ in mono if atom[0] == "const"}
    return {"pi", "e"} <= names or "inf" in names


def _scaled(p: Poly, c: Fraction) -> Poly:
    return {mono: c * value for mono, value in p.items()}


def _plus(a: Poly, b: Poly) -> Poly:
    total = dict(a)
    for mono, c in b.items():
        value = total.get(mono, Fraction(0)) + c
        if value:
            total[mono] = value
        else:
            del total[mono]
    if len(total) > MAX_TERMS:
        raise TooBig(f"more than {MAX_TERMS} terms")
    return total


def _times(a: Poly, b: Poly) -> Poly:
    if a == _ONE:
        return b
    if b == _ONE:
        return a
    if len(a) * len(b) > 20 * MAX_TERMS:
        raise TooBig("a product of too many terms")
    total = dict[Monomial, Fraction]()
    for mono_a, c_a in a.items():
        for mono_b, c_b in b.items():
            c = c_a * c_b
            if not mono_a or not mono_b:
                mono = mono_a or mono_b
            else:
                exponents = dict(mono_a)
                for atom, n in mono_b:
                    exponents[atom] = exponents.get(atom, Fraction(0)) + n
                mono = frozenset(exponents.items())
            total[mono] = total.get(mono, Fraction(0)) + c
    if len(total) > MAX_TERMS:
        raise TooBig(f"more than {MAX_TERMS} terms")
    if any(max(c.numerator.bit_length(), c.denominator.bit_length()) > 2 * MAX_BITS for c in total.values()):
        raise TooBig("a number of too many digits")
    return _collected(total)


def _collected(p: Poly) -> Poly:
    """Whole powers of primes and of i become coefficients, zero terms and zero exponents go."""
    total = dict[Monomial, Fraction]()
    for mono, c in p.items():
        value: Fraction = c
        if mono:
            kept = list[tuple[Atom, Fraction]]()
            for atom, n in mono:
                if atom[0] == "prime":
                    whole = floor(n)
                    if abs(whole) > MAX_POWER:
                        raise TooBig("a power of too many digits")
                    assert isinstance(atom[1], int)
                    value *= Fraction(atom[1]) ** whole
                    fraction = n - whole
                elif atom == _I and n.denominator == 1:
                    value *= Fraction(-1 if n % 4 in (2, 3) else 1)
                    fraction = n % 2
                else:
                    fraction = n
                if fraction:
                    kept.append((atom, fraction))
            mono = frozenset(kept)  # noqa: PLW2901
        value += total.get(mono, Fraction(0))
        total[mono] = value
    return {mono: c for mono, c in total.items() if c}


def _frozen(ratio: Ratio) -> Hashable:
    top, bottom = ratio
    return frozenset(top.items()), frozenset(bottom.items())
