"""Equality by evaluation: at one point with 60 digits for constants, at many fixed points for expressions with symbols.

Arithmetic is real where it can be: the odd root of a negative number is negative, and a point at which either side is
not real is no evidence. Where no real point serves, positive integers are tried (factorials, (-1)^n), then complex
principal values. Two values count as equal when they agree to all but the last digits at two precisions, so that
cancellation is seen; a pair that does neither agree nor clearly differ is undecided. Magnitudes are bounded before
every operation.
"""

import threading
from fractions import Fraction
from functools import lru_cache
from random import Random
from typing import Any

from stepmark.grading.tree import Node, symbols, unknown_function

DIGITS = 60
MAX_DIGITS = 3_000
MAX_NODES = 400
MAX_SUM = 200
MAX_EXPONENT = 1 << 20
"""of a value in bits: results beyond 2^(2^20) are not evaluated"""

Env = dict[str, Fraction]


class Undecided(Exception):
    """A value that cannot be computed here: undefined, too large, or of an operation that has no numeric meaning."""


class NotReal(Undecided):
    """A value that is not real at a point where real values are asked for."""


_local = threading.local()


def _context() -> Any:
    """This thread's own multi-precision context: mpmath's global one is shared by all threads."""
    if not hasattr(_local, "mp"):
        from mpmath.ctx_mp import MPContext  # type: ignore[import-untyped]

        _local.mp = MPContext()
    return _local.mp


def same(a: Node, b: Node) -> bool | None:
    """Whether two scalars have equal values wherever both are defined; None if that cannot be decided here."""
    if sum(1 for node in (a, b) for _ in node.walk()) > MAX_NODES:
        return None
    names = sorted(symbols(a) | symbols(b))
    if not names:
        try:
            return _agree(a, b, {}, real=False)
        except Undecided:
            return None
    for points, real in (
        (_real_points(len(names)), True),
        (_integer_points(len(names)), True),
        (_real_points(len(names)), False),
    ):
        agreed = 0
        for point in points:
            try:
                outcome = _agree(a, b, dict(zip(names, point, strict=True)), real=real)
            except Undecided:
                continue
            if outcome is False:
                return False
            agreed += outcome is True
        if agreed >= 4:
            return True
    return None


def proportional(a: Node, b: Node) -> Fraction | float | None:
    """The constant c with a = c b at every point; None if there is none or it cannot be told."""
    names = sorted(symbols(a) | symbols(b))
    if not names or sum(1 for node in (a, b) for _ in node.walk()) > MAX_NODES:
        return None
    quotients = []
    mp = _context()
    for point in _real_points(len(names)):
        env = dict(zip(names, point, strict=True))
        try:
            x, y = evaluate(a, env, DIGITS, real=True), evaluate(b, env, DIGITS, real=True)
        except Undecided:
            continue
        if abs(x) < 1e-30 or abs(y) < 1e-30:
            return None
        quotients.append(x / y)
    if len(quotients) < 4 or any(abs(q / quotients[0] - 1) > mp.mpf(10) ** (20 - DIGITS) for q in quotients):
        return None
    return float(quotients[0])


@lru_cache(maxsize=4096)
def constant(node: Node) -> float | None:
    """The value of a real constant, for ordering; None if it has no real value or a symbol."""
    if node.head == "num":
        return _float(node.value)
    if node.head == "const" and node.leaf == "inf":
        return float("inf")
    if node.head == "mul" and len(node.args) == 2 and node.args[1].leaf == "inf" and node.args[0].head == "num":
        return float("inf") if node.args[0].value > 0 else float("-inf")
    if symbols(node):
        return None
    try:
        return float(evaluate(node, {}, 30, real=True))
    except (Undecided, OverflowError):
        return None


def decimal(node: Node, digits: int) -> Fraction | None:
    """The real value of a constant as a fraction that is right to about `digits` digits."""
    if symbols(node):
        return None
    try:
        value = evaluate(node, {}, digits + 10, real=True)
    except Undecided:
        return None
    mp = _context()
    sign, mantissa, exponent, _ = value._mpf_
    if not mp.isfinite(value) or abs(exponent) > 100_000:
        return None
    size = Fraction(int(mantissa)) * Fraction(2) ** int(exponent)
    return -size if sign else size


def _float(value: Fraction) -> float:
    try:
        return float(value)
    except OverflowError:
        return float("inf") if value > 0 else float("-inf")


@lru_cache(maxsize=64)
def _real_points(n: int) -> tuple[tuple[Fraction, ...], ...]:
    """Fixed points: first with all coordinates positive, then with random signs."""
    random = Random(20_26)

    def coordinate(signed: bool) -> Fraction:
        return Fraction(random.randint(2_000, 40_000), 10_007) * (random.choice((-1, 1)) if signed else 1)

    return tuple(tuple(coordinate(i >= 5) for _ in range(n)) for i in range(12))


@lru_cache(maxsize=64)
def _integer_points(n: int) -> tuple[tuple[Fraction, ...], ...]:
    random = Random(7)
    return tuple(tuple(Fraction(random.randint(1, 13)) for _ in range(n)) for _ in range(12))


def _agree(a: Node, b: Node, env: Env, *, real: bool) -> bool | None:
    """Whether two values agree at one point, in every digit before the point and DIGITS - 15 after it, and to as many
    significant digits. False needs a difference that the digits show beyond doubt."""
    mp = _context()
    digits = DIGITS
    for _ in range(3):
        x, y = evaluate(a, env, digits, real=real), evaluate(b, env, digits, real=real)
        size, difference = max(abs(x), abs(y)), abs(x - y)
        if not mp.isfinite(size):
            raise Undecided("not finite")
        if difference > size * mp.mpf(10) ** (-DIGITS // 3) and size > mp.mpf(10) ** (-digits // 2):
            return False
        needed = DIGITS + max(0, _magnitude(size, mp) * 3 // 10)
        if needed > MAX_DIGITS:
            raise Undecided("too large")
        if digits < needed:
            digits = needed
        elif difference <= size * mp.mpf(10) ** (15 - digits):
            return True
        elif difference > size * mp.mpf(10) ** (-digits // 2) and size > mp.mpf(10) ** (-digits // 2):
            return False
        elif size < mp.mpf(10) ** (20 - digits) and digits > DIGITS:
            return True
        else:
            digits *= 4
    return None


def evaluate(node: Node, env: Env, digits: int, *, real: bool) -> Any:
    """The value of a scalar at a point, an mpf or mpc of that many digits. Raises Undecided and its child NotReal."""
    mp = _context()
    mp.dps = digits
    try:
        value = _value(node, env, mp)
    except (ZeroDivisionError, OverflowError, ValueError, MemoryError, mp.NoConvergence) as error:
        raise Undecided(str(error)) from error
    if isinstance(value, mp.mpc):
        if value.imag == 0:
            return value.real
        if real:
            raise NotReal("not real")
    return value


def _value(node: Node, env: Env, mp: Any) -> Any:
    match node.head:
        case "num":
            return mp.mpf(node.value.numerator) / node.value.denominator
        case "sym":
            if node.name not in env:
                raise Undecided("a symbol without a value")
            point = env[node.name]
            return mp.mpf(point.numerator) / point.denominator
        case "const":
            if node.leaf == "inf":
                raise Undecided("infinite")
            return {"pi": lambda: +mp.pi, "e": lambda: +mp.e, "i": lambda: mp.mpc(0, 1), "deg": lambda: mp.pi / 180}[
                node.name
            ]()
        case "percent":
            return _value(node.args[0], env, mp) / 100
        case "add":
            return mp.fsum(_value(arg, env, mp) for arg in node.args)
        case "mul":
            product = mp.mpf(1)
            for arg in node.args:
                product *= _value(arg, env, mp)
            return product
        case "pow":
            return _power(node, env, mp)
        case "sum" | "prod":
            return _series(node, env, mp)
        case "call":
            return _call(node.name, [_value(arg, env, mp) for arg in node.args], mp)
    raise Undecided(f"{node.head} has no value")


def _magnitude(x: Any, mp: Any) -> int:
    return int(mp.mag(x)) if x else 0


def _power(node: Node, env: Env, mp: Any) -> Any:
    base, exponent = (_value(arg, env, mp) for arg in node.args)
    if base == 0:
        if not mp.re(exponent) > 0:
            raise Undecided("a power of zero")
        return mp.mpf(0)
    if _magnitude(exponent, mp) > 40 or abs(exponent) * (abs(_magnitude(base, mp)) + 1) > MAX_EXPONENT:
        raise Undecided("too large")
    if exponent == mp.nint(mp.re(exponent)) and isinstance(exponent, mp.mpf):
        return base ** int(exponent)
    if isinstance(base, mp.mpf) and base < 0:
        ratio = _quotient(node.args[1])
        if ratio is not None and ratio.denominator % 2:
            return (-1) ** ratio.numerator * mp.power(-base, exponent)
    return mp.power(base, exponent)


def _quotient(exponent: Node) -> Fraction | None:
    from stepmark.grading.algebra import rational

    return rational(exponent)


def _series(node: Node, env: Env, mp: Any) -> Any:
    body, variable, low, high = node.args
    start, stop = _value(low, env, mp), _value(high, env, mp)
    if start != mp.nint(start) or stop != mp.nint(stop) or not 0 <= stop - start + 1 <= MAX_SUM:
        raise Undecided("a sum that is not finite and short")
    values = [_value(body, {**env, variable.name: Fraction(k)}, mp) for k in range(int(start), int(stop) + 1)]
    return mp.fsum(values) if node.head == "sum" else mp.fprod(values)


def _call(name: str, x: list[Any], mp: Any) -> Any:
    if any(_magnitude(v, mp) > 1_000 for v in x):
        raise Undecided("too large")
    match name, len(x):
        case (("sin" | "cos" | "tan" | "cot" | "sec" | "csc" | "sinh" | "cosh" | "tanh" | "coth"), 1):
            if name.endswith("h") and abs(x[0]) > 10_000:
                raise Undecided("too large")
            if name in ("tan", "sec") and abs(mp.cos(x[0])) < mp.mpf(10) ** (-mp.dps // 2):
                raise Undecided("a pole")
            if name in ("cot", "csc") and abs(mp.sin(x[0])) < mp.mpf(10) ** (-mp.dps // 2):
                raise Undecided("a pole")
            return getattr(mp, name)(x[0])
        case (("arcsin" | "arccos" | "arctan" | "arccot" | "arcsec" | "arccsc"), 1):
            return getattr(mp, name.replace("arc", "a"))(x[0])
        case "ln", 1 if x[0] != 0:
            return mp.log(x[0])
        case "log", 2 if x[0] != 0:
            return mp.log(x[0]) / mp.log(x[1])
        case "abs", 1:
            return abs(x[0])
        case "sgn", 1:
            return mp.sign(x[0])
        case (("floor" | "ceil"), 1) if isinstance(x[0], mp.mpf):
            if abs(x[0] - mp.nint(x[0])) < mp.mpf(10) ** (-mp.dps // 2) and x[0] != mp.nint(x[0]):
                raise Undecided("at a jump")
            return getattr(mp, name)(x[0])
        case (("factorial" | "factorial2"), 1) if isinstance(x[0], mp.mpf) and 0 <= x[0] < 10_000:
            return mp.factorial(x[0]) if name == "factorial" else mp.fac2(x[0])
        case "binomial", 2 if all(isinstance(v, mp.mpf) and abs(v) < 10_000 for v in x):
            return mp.binomial(*x)
        case (("max" | "min"), _) if all(isinstance(v, mp.mpf) for v in x):
            return max(x) if name == "max" else min(x)
    if unknown_function(name):
        return _unknown_function(name, x, mp)
    raise Undecided(f"{name} has no value here")


def _unknown_function(name: str, x: list[Any], mp: Any) -> Any:
    """A function of which only the name is known: some smooth function that the name determines."""
    seed = Random(name)
    return mp.cos(seed.randint(1, 999) + mp.fsum(v * seed.randint(1, 99) / 37 for v in x))
