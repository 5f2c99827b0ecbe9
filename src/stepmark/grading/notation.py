"""The names and signs of mathematics that the parser knows."""

import re


def _table(text: str) -> dict[str, str]:
    parts = text.split()
    return dict(zip(parts[::2], parts[1::2], strict=True))


_NAMES = (
    "sin cos tan cot sec csc sinh cosh tanh coth arcsin arccos arctan arccot arcsec arccsc ln log lg exp sgn gcd lcm "
    "max min floor ceil abs"
)
_OTHER_NAMES = (
    "asin arcsin acos arccos atan arctan acot arccot asec arcsec acsc arccsc tg tan ctg cot cosec csc sign sgn"
)
FUNCTIONS = {name: name for name in _NAMES.split()} | _table(_OTHER_NAMES)
INVERTIBLE = ("sin", "cos", "tan", "cot", "sec", "csc")
CONSTANTS = _table("pi pi e e i i imath i infinity inf infty inf inf inf oo inf")
RELATIONS = _table(
    "= = == = < < > > <= <= =< <= >= >= != != approx ~ simeq ~ le <= leq <= leqslant <= leqq <= lt < ge >= geq >= "
    "geqslant >= geqq >= gt > ne != neq != in in notin notin equiv == cong == sim sim subset subset subseteq subseteq "
    "perp perp parallel parallel mid divides"
)
SET_OPERATORS = _table("cup union bigcup union cap intersect setminus minus backslash minus")
GREEK = _table("varphi phi varepsilon epsilon vartheta theta varrho rho")
_ACCENT_NAMES = "overline vec hat bar tilde overrightarrow widehat underline dot mathfrak mathscr"
ACCENTS = frozenset(_ACCENT_NAMES.split())
SHAPES = frozenset(("angle", "triangle", "measuredangle", "odot", "square", "nabla", "partial"))
MATRICES = frozenset(("matrix", "pmatrix", "bmatrix", "Bmatrix", "smallmatrix", "array", "vmatrix"))
BRACKETS = {"(": ")", "[": "]", "langle": "rangle", "lbrack": "]"}
DOTS = ("ldots", "cdots", "dots", "dotsc", "vdots", "...", "..")
ORDINAL_ENDS = ("st", "nd", "rd", "th")
VALUE_ENDS = ("}", ")", "]", "%", "!", "|", "pi")
"""tokens after which a word may be a unit or a noun; so may it after a number"""
_SHORT_WORDS = "is are the we no yes odd all any not or and its his her has was one two six ten sum new old"
WORDS = frozenset(_SHORT_WORDS.split())
"""short words that are no products of letters"""
GLUED = re.compile(r"(arcsin|arccos|arctan|sinh|cosh|tanh|sin|cos|tan|cot|sec|csc|ln|log|sqrt|pi)([a-zA-Z]{0,2})")
"""a function's name grown together with its argument: `sinx`"""
_SEPARATORS = (
    "} \\ rbrace rfloor rceil rvert rVert rangle end & pm mp cdot times ast div choose to rightarrow Rightarrow "
    "implies iff pmod mod bmod not quad hline circ degree prime % # _ land lor wedge vee therefore colon and blank "
    "hyphen number $"
)
NO_FACTOR = frozenset((*RELATIONS, *SET_OPERATORS, *_SEPARATORS.split()))
"""commands that do not begin a factor"""
