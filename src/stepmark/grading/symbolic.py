"""Symbolic equality, the last resort: sympy in a worker process that is killed at its limit.

Sympy objects are built by constructors from our tree, never from text, and only in the worker. Nothing here is
reached by answers that arithmetic or evaluation decides.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache
from typing import Any

from stepmark.grading.tree import BIG, Node, symbols
from stepmark.grading.worker import WorkerFailure, symbolic_worker

LIMIT_SECONDS = 3.0
MAX_NODES = 200
MAX_INTEGER = 10**40
_FUNCTIONS = {
    **{name: name for name in ("sin", "cos", "tan", "cot", "sec", "csc", "sinh", "cosh", "tanh", "coth")},
    **{f"arc{name}": f"a{name}" for name in ("sin", "cos", "tan", "cot", "sec", "csc")},
    **{
        "ln": "log",
        "log": "log",
        "abs": "Abs",
        "sgn": "sign",
        "floor": "floor",
        "ceil": "ceiling",
        "binomial": "binomial",
    },
    **{"factorial": "factorial", "factorial2": "factorial2", "max": "Max", "min": "Min"},
}


@dataclass(frozen=True, slots=True)
class Decision:
    equal: bool | None
    reason: str


@lru_cache(maxsize=4096)
def is_zero(difference: Node) -> Decision:
    """Whether a scalar is zero for all values of its symbols, asked of the worker. Never raises."""
    if not _admissible(difference):
        return Decision(None, "too large or no scalar: not evaluated")
    try:
        answer = symbolic_worker().call(("zero", difference), LIMIT_SECONDS)
    except WorkerFailure as failure:
        return Decision(None, str(failure))
    return Decision(
        answer, {True: "equal symbolically", False: "different symbolically"}.get(answer, "undecided symbolically")
    )


def _admissible(node: Node) -> bool:
    """Whether sympy may be given this: short, small numbers, no towers, only heads that have a constructor."""
    nodes = list(node.walk())
    if len(nodes) > MAX_NODES:
        return False
    for part in nodes:
        if part.head == "num" and max(abs(part.value.numerator), part.value.denominator) > MAX_INTEGER:
            return False
        if part.head == "pow" and part.args[1].head == "num" and abs(part.args[1].value) > 100:
            return False
        if (
            part.head == "pow"
            and not symbols(part.args[1])
            and any(inner.head == "pow" for inner in part.args[1].walk())
        ):
            return False
        if part.leaf in ("factorial", "factorial2", "binomial") and any(
            arg.head != "num" or arg.value > 500 for arg in part.args if not symbols(arg)
        ):
            return False
        if part.head == "call" and part.name not in _FUNCTIONS:
            return False
        if part.head not in ("num", "sym", "const", "add", "mul", "pow", "call", "percent", *BIG):
            return False
    return True


def decide(difference: Node) -> bool | None:
    """Runs in the worker: sympy's own opinion whether a scalar is zero."""
    import sympy  # type: ignore[import-untyped]

    expression = build(difference, {})
    simplified = sympy.simplify(expression.doit())
    if simplified.is_zero is not None:
        return bool(simplified.is_zero)
    verdict = simplified.equals(0)
    return None if verdict is None else bool(verdict)


def build(node: Node, bound: dict[str, Any]) -> Any:
    """The sympy object of a scalar, by constructors."""
    import sympy

    args = [build(arg, bound) for arg in node.args] if node.head not in BIG else []
    match node.head:
        case "num":
            value: Fraction = node.value
            return sympy.Rational(value.numerator, value.denominator)
        case "sym":
            return bound.get(node.name, sympy.Symbol(node.name, real=True))
        case "const":
            constants = {"pi": sympy.pi, "e": sympy.E, "i": sympy.I, "inf": sympy.oo, "deg": sympy.pi / 180}
            return constants[node.name]
        case "percent":
            return args[0] / 100
        case "add":
            return sympy.Add(*args)
        case "mul":
            return sympy.Mul(*args)
        case "pow":
            exponent = args[1]
            if exponent.is_Rational and exponent.q % 2 and exponent.q > 1 and args[0].is_negative:
                return (-1) ** exponent.p * sympy.Pow(-args[0], exponent)
            return sympy.Pow(*args)
        case "call":
            return getattr(sympy, _FUNCTIONS[node.name])(*args)
    body, variable, *bounds = node.args
    whole = node.head in ("sum", "prod")
    symbol = sympy.Symbol(variable.name, integer=True) if whole else sympy.Symbol(variable.name, real=True)
    inner = build(body, {**bound, variable.name: symbol})
    limits = [build(limit, bound) for limit in bounds]
    if node.head == "lim":
        return sympy.limit(inner, symbol, limits[0])
    construct = {"sum": sympy.Sum, "prod": sympy.Product, "int": sympy.Integral}[node.head]
    return construct(inner, (symbol, *limits))
