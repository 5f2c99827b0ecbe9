"""How strict the grader is. Equality is one thing, what an exercise demands of an answer's form another."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Policy:
    """What is accepted beyond equal values, and what is demanded beyond them. The defaults suit GSM8K and MATH."""

    decimal_digits: int = 4
    """a decimal equals an exact value that rounds or truncates to it if it shows at least this many significant digits
    (1/3 = 0.3333, not 0.33); two decimals must be equal. 0: a decimal is never an approximation"""
    percent_as_number: bool = True
    """`20%` also equals a bare `20`, since the question often says "what percent"; it always equals 0.2"""
    base: Literal["same", "value", "digits"] = "same"
    """numerals with a base: `same` base and digits (2516_8 is neither 2516 nor 1358: the base is what such a question
    asks for); `value` accepts 1358; `digits` accepts a dropped base, 2516"""
    ordered: bool = False
    """a list's order matters (a tuple's always does)"""
    units: Literal["optional", "required"] = "optional"
    """`optional`: a unit may be left out, two units must agree (1 m = 100 cm, 5 cm is not 5 cm^2); `required`: a gold
    answer's unit must be there"""
    reduced: bool = False
    """the answer's fractions must be in lowest terms"""
    same_form: bool = False
    """the answer must have the gold answer's form: a product stays a product, a fraction a fraction, up to the order of
    terms and factors"""


DEFAULT = Policy()
