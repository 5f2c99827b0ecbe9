"""The text of an answer to its tree: lists, named values, units, words. What `parse` does for one expression, this
does for an answer.

Beyond the heads of `tree`, an answer may be a `define` (a name and its value: `x = 3`, `f(t) = 2t`, `(p,q) = (3,2)`),
an `equation` (two sides, neither a name), a `list` of these, a `time`, a `text` (plain words) or `unread` (neither
words nor mathematics that we read; it equals only itself).
"""

import re
from collections.abc import Sequence
from functools import lru_cache

from stepmark.grading import numeric
from stepmark.grading.lexer import ParseError, Token, lex, tidy
from stepmark.grading.parse import Parser, compound
from stepmark.grading.tree import EMPTY, REALS, Node, depth, num, substitute, sym, symbols, unknown_function

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_NUMBER_WORDS = dict(zip(_ONES.split(), range(20), strict=True)) | dict(
    zip(_TENS.split(), range(20, 100, 10), strict=True)
)
_ORDINALS = dict(
    zip(
        ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"],
        range(1, 11),
        strict=True,
    )
)
_EMPTY_PHRASES = (
    "no solution, no solutions, none, empty, empty set, the empty set, no real solution, no real solutions, "
    "there is no solution, there are no solutions, no such number, no integer solutions"
)
_REAL_PHRASES = (
    "all real numbers, all reals, real numbers, any real number, all real, every real number, "
    "the set of all real numbers, the set of real numbers"
)
_PHRASES = {
    **dict.fromkeys(_EMPTY_PHRASES.split(", "), EMPTY),
    **dict.fromkeys(_REAL_PHRASES.split(", "), REALS),
    **dict.fromkeys(("all integers", "any integer"), Node("field", (), "Z")),
    **dict.fromkeys(("undefined", "dne", "does not exist"), Node("text", (), "does not exist")),
    **dict.fromkeys(("infinitely many", "infinite", "infinitely many solutions"), Node("text", (), "infinitely many")),
}
_SHORT_TEXTS = frozenset(("no", "ok", "up", "am", "pm", "or", "in", "on", "he", "it"))
_FILLERS = frozenset(
    ("approximately", "about", "around", "roughly", "exactly", "approx", "only", "answer", "thus", "so", "is")
)
_CONDITION = frozenset(("for", "where", "forall", "provided"))
"""words after which a condition is left out; several of them tell cases apart, and are not read"""
_FUNCTION_LETTERS = frozenset("PQRSWVTEFGHpqrsuvw")
"""letters that may be applied to an argument on the left of an equation: `P(3) = 5`"""
_VERBS = ("is", "are", "equals", "was")
_YES_NO = re.compile(r"(?:\\text\s*\{)?\s*(?:yes|no)\s*[,.;]", re.IGNORECASE)
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?\s*(?:([ap])\.?\s*m\.?|(noon|midnight))?", re.IGNORECASE | re.ASCII)
_NUMERAL = re.compile(
    r"\(?(-?[0-9A-Z]{1,60})\)?\s*(?:_\s*\{?\s*([0-9]{1,2}|[a-z]{3,8})\s*\}?|\(?\s*base\s*-?\s*([0-9]{1,2}|[a-z]{3,8})\s*\)?)"
)
_DETEX = re.compile(
    r"\\(?:text|mbox|textbf|textrm|mathrm|textit|textnormal|operatorname|mathbf|boxed|fbox)\s*(?=\{)"
    r"|\\[,;:!> ]|\\(?:left|right)(?![a-zA-Z])|[${}~]"
)
INTEGER = "\\integer"
"""the symbol of the integer over which a family of solutions runs"""
_LEFT = " \t\r\n,;*\"`'"
_EDGE = _LEFT + "."
_DECIMAL_COMMA = re.compile(r"[\s$+-]*(?:0,[0-9]+|[0-9]+,(?:[0-9]{1,2}|[0-9]{4,}))[\s$.]*", re.ASCII)
_WRAPPERS = (("$", "$"), ("\\(", "\\)"), ("\\[", "\\]"), ("\\boxed{", "}"), ("\\fbox{", "}"))
_BRACES = re.compile(r"(?<!\\)[{}$]|\\[()\[\]]")
_DATE = re.compile(r"[a-z]{3,12}\.? [0-9]{1,4}(?:, [0-9]{4})?")
_PROSE = re.compile(r"[^\\^_=<>+*/|]*")
_LONGEST_TEXT = 4_000
_DEEPEST = 60


@lru_cache(maxsize=16384)
def read(text: str, *, thousands: bool = True) -> Node:
    """The tree of an answer. Never raises: text that is not understood is a `text` or `unread` leaf."""
    stripped = unwrapped(text)
    try:
        special = _special(stripped)
        if special is not None:
            return special
        tokens = lex(stripped, thousands=thousands)
        tree = _answer(_trimmed(tokens))
        if depth(tree) > _DEEPEST:
            raise ParseError("nested too deeply")
        return tree
    except (ParseError, RecursionError) as error:
        return _not_read(stripped, str(error))


def _not_read(text: str, reason: str) -> Node:
    """Text, if there are letters only, or a name and a number (`October 30`); else unread. Prose keeps neither case nor
    wrappers, notation keeps both."""
    if len(text) <= _LONGEST_TEXT and _PROSE.fullmatch(_DETEX.sub(" ", tidy(text))) is not None:
        plain = words(text)
        if plain and (not re.search("[0-9]", plain) or _DATE.fullmatch(plain)):
            return Node("text", (), plain)
        return Node("unread", (), (plain, reason))
    return Node("unread", (), (" ".join(text.split()), reason))


def unwrapped(text: str) -> str:
    """An answer without what encloses it all: white space, dollars, \\( \\), \\[ \\], \\boxed{}, a final stop."""
    while True:
        text = text.lstrip(_LEFT).rstrip(_EDGE)
        inner = text
        for opening, closing in _WRAPPERS:
            if inner.startswith(opening) and inner.endswith(closing) and len(inner) > len(opening) + len(closing):
                inner = inner[len(opening) : -len(closing)]
        if inner == text or _unpaired(inner):
            return text
        text = inner


def _unpaired(text: str) -> bool:
    """Whether a text closes more than it opens: what was taken off its ends was no pair."""
    depth = 0
    for brace in _BRACES.findall(text):
        depth += {"{": 1, "\\(": 1, "\\[": 1, "$": 0}.get(brace, -1)
        if depth < 0 or brace == "$":
            return True
    return False


def alternatives(text: str) -> list[Node]:
    """Further readings of an ambiguous answer: `1,200` as two numbers, `1,22` with a decimal comma."""
    found = []
    if "," in text and len(text) < _LONGEST_TEXT:
        apart = read(text, thousands=False)
        if apart != read(text):
            found.append(apart)
        if _DECIMAL_COMMA.fullmatch(text):
            found.append(read(text.replace(",", ".")))
    return found


def words(text: str) -> str:
    """Plain words, folded: without wrappers, punctuation at the ends, articles at the start, and double spaces."""
    plain = re.sub(r"\s+", " ", _DETEX.sub(" ", text)).strip(_EDGE + "()").casefold()
    return re.sub(r"^(?:the|an?) (?=\w)", "", plain)


def _special(text: str) -> Node | None:
    """Answers that are told by their outer look: times, numerals with a base."""
    if len(text) > 80:
        return None
    if _YES_NO.match(text):
        return Node("text", (), words(text))
    if ":" in text:
        plain = re.sub(r"\s*:\s*", ":", _DETEX.sub("", tidy(text))).strip()
        if (clock := _TIME.fullmatch(plain)) is not None and int(clock[1]) <= 24 and int(clock[2]) < 60:
            half = {"a": "am", "p": "pm", "n": "pm", "m": "am"}.get((clock[4] or clock[5] or "")[:1].lower(), "")
            return Node("time", (), (str(int(clock[1])), clock[2], clock[3] or "00", half))
    if "_" in text or "base" in text:
        plain = re.sub(r"\\[,!]", "", re.sub(r"\\(?:text|mathrm)\s*\{([^{}]*)\}", r"\1", tidy(text).replace("$", "")))
        if (numeral := _NUMERAL.fullmatch(plain.strip(" ."))) is not None:
            base = numeral[2] or numeral[3]
            n = _NUMBER_WORDS.get(base, 0) if base.isalpha() else int(base)
            digits = re.sub(r"(?<![0-9A-Z])0+(?=.)", "", numeral[1])
            if 2 <= n <= 36 and not digits.isalpha() and all(int(digit, 36) < n for digit in digits.lstrip("-")):
                return Node("based", (), (digits, str(n)))
    return None


def _trimmed(tokens: list[Token]) -> list[Token]:
    start, end = 0, len(tokens)
    while end and tokens[end - 1].text in (".", ",", ";", ":", "..", "\\", '"', "'"):
        end -= 1
    while start < end and (
        tokens[start].text in (":", ".", ",", '"', "\\", "approx", "therefore", "=")
        or tokens[start].text.lower() in _FILLERS
    ):
        start += 1
    if start == end:
        raise ParseError("nothing to read")
    return tokens[start:end]


def _answer(tokens: list[Token]) -> Node:
    if (phrase := _phrase(tokens)) is not None:
        return phrase
    tokens = _without_brackets(tokens)
    conditions = [position for position, token in enumerate(tokens) if token.text in _CONDITION]
    if len(conditions) == 1 and conditions[0]:
        return _answer(_trimmed(tokens[: conditions[0]]))
    exception = next((n for n, token in enumerate(tokens) if token.text == "except"), 0)
    if exception and _phrase(tokens[:exception]) == REALS:
        left_out = _listed(_trimmed(tokens[exception + 1 :]), ",")
        return Node("minus", (REALS, Node("set", left_out.args if left_out.head == "list" else (left_out,))))
    groups = _split(tokens, (";", "\\"))
    if len(groups) > 1 and any(len(_split(group, (",",))) > 1 for group in groups):
        parts = [_listed(group, ";") for group in groups]
        inner = [Node("tuple", part.args, "()") if part.head == "list" and not _named(part) else part for part in parts]
        return Node("list", tuple(inner), ";")
    groups = _split(tokens, ("or",))
    if len(groups) > 1:
        parts = [_listed(group, ",") for group in groups]
        if all(part.head == "list" and _named(part) for part in parts):
            return Node("list", tuple(parts), ";")
    return _listed(tokens, "or" if len(groups) > 1 else ",")


def _without_brackets(tokens: list[Token]) -> list[Token]:
    """`2k\\pi (k \\in \\mathbb{Z})` as `2k\\pi, k \\in \\mathbb{Z}`."""
    opening = max((n for n, token in enumerate(tokens) if token.text == "("), default=0)
    inside = [token.text for token in tokens[opening + 1 : -1]]
    if not opening or tokens[-1].text != ")" or "in" not in inside or "mathbb" not in inside:
        return tokens
    return [*tokens[:opening], tokens[opening]._replace(text=","), *tokens[opening + 1 : -1]]


def _named(node: Node) -> bool:
    names = [item.args[0] for item in node.args if item.head == "define"]
    return len(names) == len(node.args) and len(set(names)) == len(names)


def _listed(tokens: list[Token], separator: str) -> Node:
    pieces = _split(tokens, (",", ";", "and", "or", "\\", "land", "lor", "wedge", "vee"))
    items: list[Node] = []
    for piece in pieces:
        item = _item(piece)
        if items and items[-1].head == "define" and item.head not in ("define", "equation", "relation", "quantifier"):
            item = Node("define", (items[-1].args[0], item))
        elif items and items[-1].head == "relation" and items[-1].words == ("!=",) and item.head in ("num", "mul"):
            item = Node("relation", (items[-1].args[0], item), ("!=",))
        items.append(item)
    bound = {symbol for item in items if item.head == "quantifier" for symbol in symbols(item.args[0])}
    items = [item for item in items if item.head != "quantifier" or len(items) == 1]
    if not items:
        raise ParseError("only conditions")
    items = compound(items)
    for n, name in enumerate(sorted(bound)):
        items = [substitute(item, name, sym(f"{INTEGER}{n or ''}")) for item in items]
    if len(items) == 1:
        only = items[0]
        return only.args[1] if only.head == "quantifier" else only
    return Node("list", tuple(items), separator)


def _split(tokens: list[Token], separators: Sequence[str]) -> list[list[Token]]:
    """The parts between separators outside all brackets; empty parts are dropped."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in tokens:
        text = token.text
        if token.kind in ("op", "cmd"):
            if text in ("(", "[", "{", "lbrace", "begin", "langle", "lfloor", "lceil"):
                depth += 1
            elif text in (")", "]", "}", "rbrace", "rangle", "rfloor", "rceil") or text == "end":
                depth -= 1
        if depth <= 0 and text in separators and (token.kind != "cmd" or text != "and"):
            parts.append([])
        else:
            parts[-1].append(token)
    return [part for part in parts if part]


def _item(tokens: list[Token]) -> Node:
    tokens = _trimmed(tokens)
    if (phrase := _phrase(tokens)) is not None:
        return phrase
    for position, token in enumerate(tokens):
        if token.text in ("pmod", "mod", "bmod") and position:
            modulus = Parser(tokens[position + 1 :]).whole()
            inner = tokens[:position]
            while inner and inner[-1].text == "(":
                inner, modulus = inner[:-1], Parser([*tokens[position + 1 :]][:-1]).whole()
            return Node("mod", (_settled(Parser(inner).whole()), modulus))
    spoken = next((n for n, token in enumerate(tokens) if token.kind != "word"), 0)
    if spoken and tokens[spoken].text == "=" and len(tokens[0].text) > 3:
        name = sym(" ".join(token.text for token in tokens[:spoken]))
        return Node("define", (name, Parser(tokens[spoken + 1 :]).whole()))
    if spoken and tokens[spoken - 1].text in _VERBS:
        return _item(tokens[spoken:])
    return _settled(Parser(tokens).whole())


def _phrase(tokens: list[Token]) -> Node | None:
    """An answer of words only: a number in words, a known phrase, or text. None where the words are mathematics."""
    if any(token.kind != "word" and token.text not in ("-", "'", ".", "!") for token in tokens):
        return None
    if tokens[0].text == "-" or all(len(token.text) == 1 for token in tokens):
        return None
    text = " ".join(token.text for token in tokens)
    folded = text.casefold().strip(" .!")
    if folded in _PHRASES:
        return _PHRASES[folded]
    if (value := _number_in_words(folded)) is not None:
        return num(value)
    if len(tokens) == 1 and (len(folded) == 1 or folded in ("pi", "infinity", "inf", "infty")):
        return None
    bare = len(tokens) == 1 and not tokens[0].quoted and folded not in _SHORT_TEXTS
    if bare and (len(text) == 2 or (len(text) == 3 and (text.isupper() or not set(folded) & set("aeiou")))):
        return None
    if {"and", "or"} & {token.text for token in tokens}:
        return None
    return Node("text", (), words(text))


def _number_in_words(text: str) -> int | None:
    total = current = 0
    parts = [part for part in re.split(r"[\s-]+", text) if part]
    if len(parts) > 12 or not parts:
        return None
    for part in parts:
        if part in _NUMBER_WORDS or (part in _ORDINALS and len(parts) < 3 and part != "second"):
            value = _NUMBER_WORDS.get(part, _ORDINALS.get(part, 0))
            if current % (10 if value < 10 else 100) or current % 100 == 10:
                return None
            current += value
        elif part == "hundred" and current:
            current *= 100
        elif part in ("thousand", "million", "billion") and current:
            total += current * {"thousand": 10**3, "million": 10**6, "billion": 10**9}[part]
            current = 0
        elif part != "and" or not current:
            return None
    return total + current


def is_name(node: Node) -> bool:
    """Whether a side of an equation names the asked quantity: `x`, `f(2)`, `AB`, `|AB|`, `\\frac{NO}{BO}`, `(p,q)`."""
    match node.head:
        case "sym":
            return True
        case "const":
            return node.leaf in ("e", "i")
        case "call":
            known = node.leaf in ("sin", "cos", "tan", "abs", "prime", "det", "max", "min")
            return all(map(is_name, node.args)) if known else unknown_function(node.name)
        case "mul" | "tuple" | "ratio":
            if node.head == "mul" and len(node.args) == 2 and node.args[0].leaf in _FUNCTION_LETTERS:
                return True
            return all(map(is_name, node.args))
        case "pow":
            return is_name(node.args[0]) and node.args[1] == num(-1)
    return False


def _settled(node: Node) -> Node:
    """A relation of equalities as a definition, an equation, or the value at the end of a chain; others unchanged."""
    if node.head != "relation":
        return node
    operators, sides = node.words, node.args
    if operators == ("in",) and is_name(sides[0]):
        return Node("quantifier", sides) if sides[1].head == "field" and sides[1] != REALS else sides[1]
    if not set(operators) <= {"=", "~", "=="}:
        return node
    if "~" in operators and operators != ("~",):
        sides = sides[: operators.index("~") + 1] if operators[0] != "~" else sides[:2]
    elif operators == ("~",) and not is_name(sides[0]):
        _check_chain(sides, loose=True)
        return sides[0]
    if len(sides) == 1:
        return sides[0]
    names = [side for side in sides if side.head == "sym"]
    if len(names) == len(sides) - 1 > 1 and names[0] == sides[0]:
        return Node("list", tuple(Node("define", (name, sides[-1])) for name in names), "=")
    if is_name(sides[0]):
        return Node("define", (sides[0], sides[-1]))
    if is_name(sides[-1]):
        return Node("define", (sides[-1], sides[-2]))
    _check_chain(sides, loose="~" in operators)
    values = [side for side in sides if not is_name(side)]
    if len(values) < len(sides) or not any(symbols(side) for side in sides):
        return sides[-1]
    return Node("equation", (sides[0], sides[-1]))


def _check_chain(sides: Sequence[Node], *, loose: bool) -> None:
    """A chain of numbers alone must hold: `0.56 = 56\\%` is an answer, `3.56 = 56\\%` is none. After ≈ the decimal is
    to be the value rounded."""
    numbers = [side.args[0] if side.head == "quantity" else side for side in sides]
    values = [value for value in map(numeric.constant, numbers) if value is not None]
    if len(values) < len(sides):
        return
    places = numbers[-1].places
    if not loose:
        tolerance = 1e-9 * max(map(abs, values))
    else:
        tolerance = 0.02 * abs(values[0]) if places is None else 0.51 * 0.1**places
    if max(values) - min(values) > tolerance:
        raise ParseError("an equation that does not hold")
