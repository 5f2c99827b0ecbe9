"""Units of measurement, currencies and the nouns people write after a number.

A unit phrase becomes a `Unit`: a factor to the base unit of its dimension and the exponents of the dimensions. Words
that are no unit ("apples", "right triangles") are nouns: they are kept, and say nothing about the value.
"""

from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Unit:
    """What stands after a number: `scale` base units of `dimensions`, and the nouns that are no units."""

    scale: Fraction
    dimensions: tuple[tuple[str, int], ...]
    nouns: tuple[str, ...] = ()


def _table() -> dict[str, tuple[str, Fraction]]:
    rows = """
    length 1 m meter meters metre metres
    length 1/100 cm centimeter centimeters centimetre centimetres
    length 1/1000 mm millimeter millimeters millimetre millimetres
    length 1000 km kilometer kilometers kilometre kilometres
    length 127/5000 in inch inches
    length 381/1250 ft foot feet
    length 1143/1250 yd yard yards
    length 201168/125 mi mile miles
    time 1 s sec secs second seconds
    time 60 min mins minute minutes
    time 3600 h hr hrs hour hours
    time 86400 day days
    time 604800 wk week weeks
    month 1 month months
    month 12 yr yrs year years
    mass 1 g gram grams
    mass 1000 kg kilogram kilograms kgs
    mass 1/1000 mg milligram milligrams
    mass 45359237/100000 lb lbs pound pounds
    mass 45359237/1600000 oz ounce ounces
    mass 1000000 ton tons tonne tonnes
    volume 1 L l liter liters litre litres
    volume 1/1000 mL ml milliliter milliliters
    gallon 1 gal gallon gallons
    gallon 1/4 qt quart quarts
    gallon 1/8 pt pint pints
    gallon 1/16 cup cups
    spoon 3 tablespoon tablespoons tbsp
    spoon 1 teaspoon teaspoons tsp
    dollar 1 dollar dollars usd USD bucks
    dollar 1/100 cent cents
    euro 1 euro euros EUR
    sterling 1 GBP sterling
    rupee 1 rupee rupees Rs
    yuan 1 yuan RMB
    yen 1 yen
    degree 1 degree degrees deg
    radian 1 radian radians rad
    celsius 1 celsius Celsius
    fahrenheit 1 fahrenheit Fahrenheit
    newton 1 N newton newtons
    joule 1 J joule joules
    watt 1 W watt watts
    volt 1 V volt volts
    hertz 1 Hz hertz
    pascal 1 Pa pascal pascals
    kelvin 1 K kelvin
    mole 1 mol mole moles
    byte 1 byte bytes
    bit 1 bit bits
    plain 1 unit units
    """
    table = {}
    for row in rows.split("\n"):
        if row.strip():
            dimension, factor, *names = row.split()
            table.update(dict.fromkeys(names, (dimension, Fraction(factor))))
    table.update({"mph": ("speed", Fraction(1)), "km/h": ("speed", Fraction(1))})
    return table


UNITS = _table()
PERCENT = frozenset(("percent", "pct", "percentage", "%"))
SCALES = {
    name: Fraction(10) ** n
    for n, names in {2: ("hundred",), 3: ("thousand",), 6: ("million",), 9: ("billion",), 12: ("trillion",)}.items()
    for name in names
}
CURRENCIES = {"$": "dollars", "€": "euros", "£": "sterling", "¥": "yen"}
_POWERS = {"square": 2, "sq": 2, "squared": 2, "cubic": 3, "cu": 3, "cubed": 3}
_PUNCTUATION = frozenset(("*", "cdot", "times", "-", ".", "(", ")", "{", "}", ",", "circ"))
_OPERATIONS = frozenset(
    (
        "less",
        "more",
        "than",
        "plus",
        "minus",
        "over",
        "if",
        "when",
        "not",
        "except",
        "divided",
        "multiplied",
        "choose",
        "out",
    )
)
_FILLERS = frozenset(("of", "the", "a", "an", "in", "total", "each", "st", "nd", "rd", "th", "sq", "about", "exactly"))


@lru_cache(maxsize=4096)
def unit_of(words: tuple[str, ...]) -> Unit | None:
    """The unit that a phrase means, given as the texts of its tokens; None if it is no unit phrase."""
    scale, dimensions, nouns = Fraction(1), dict[str, int](), list[str]()
    sign, pending, position, last = 1, 1, 0, ""
    while position < len(words):
        text = words[position]
        position += 1
        if text in ("per", "/"):
            sign, last = -1, ""
        elif text in ("^", "squared", "cubed"):
            exponent, position = (_POWERS[text], position) if text != "^" else _exponent(words, position)
            if exponent is None:
                return None
            if last:
                name, factor = UNITS[last]
                scale *= (factor ** (exponent - 1)) ** sign
                dimensions[name] += sign * (exponent - 1)
        elif text in _POWERS:
            pending = _POWERS[text]
        elif text in CURRENCIES or text in UNITS:
            last = CURRENCIES.get(text, text)
            name, factor = UNITS[last]
            scale *= (factor**pending) ** sign
            dimensions[name] = dimensions.get(name, 0) + sign * pending
            pending = 1
        elif text in _OPERATIONS:
            return None
        elif text.isalpha() and text not in _FILLERS:
            nouns.append(text.casefold())
            last = ""
        elif text not in _FILLERS and text not in _PUNCTUATION:
            return None
    plain = {name: n for name, n in dimensions.items() if n and name != "plain"}
    return Unit(scale, tuple(sorted(plain.items())), tuple(nouns))


def _exponent(words: tuple[str, ...], position: int) -> tuple[int | None, int]:
    braced = words[position : position + 1] == ("{",)
    digits = words[position + braced : position + braced + 1]
    return (int(digits[0]) if digits and digits[0] in ("1", "2", "3", "4") else None), position + 1 + 2 * braced


def agree(a: Unit, b: Unit) -> Fraction | None:
    """What a value in `a` is to be multiplied with to be a value in `b`; None if they measure different things."""
    if a.dimensions and b.dimensions:
        return a.scale / b.scale if a.dimensions == b.dimensions else None
    return Fraction(1)
