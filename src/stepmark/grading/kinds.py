"""Comparisons of the kinds of answer that contain no other answers: words, ratios, times, numerals, equations."""

from collections.abc import Sequence

from stepmark.grading import algebra, numeric, scalars
from stepmark.grading.policy import Policy
from stepmark.grading.scalars import Outcome
from stepmark.grading.tree import BIG, Node, add, mul, negate, num


def is_scalar(node: Node) -> bool:
    return node.head in ("num", "sym", "const", "add", "mul", "pow", "call", "percent", "quantity", *BIG)


def every(outcomes: Sequence[Outcome]) -> Outcome:
    for wanted in (False, None):
        for outcome in outcomes:
            if outcome.equal is wanted:
                return outcome
    return Outcome(True, outcomes[0].reason if len(outcomes) == 1 else "equal entry by entry")


def unread(a: Node, b: Node) -> Outcome:
    text_a, text_b = (node.words[0] if node.head == "unread" else node.leaf for node in (a, b))
    if text_a and text_a == text_b:
        return Outcome(True, "the same text")
    reason = next(node.words[1] for node in (a, b) if node.head == "unread")
    return Outcome(None, f"not understood: {reason}")


def texts(a: Node, b: Node, policy: Policy) -> Outcome:
    if a.head != b.head:
        text, other = (a, b) if a.head == "text" else (b, a)
        lone = "".join(part.name for part in other.walk() if part.head in ("sym", "const"))
        if other.head in ("sym", "mul", "const") and lone.casefold() == text.name:
            return Outcome(True, "the same word")
        if text.name.count(" ") > 4 or any(c.isdecimal() for c in text.name):
            return Outcome(None, "not understood: words with numbers, or a sentence")
        return Outcome(False, "words against mathematics")
    words_a, words_b = (_plain(node.name) for node in (a, b))
    if words_a == words_b:
        return Outcome(True, "the same words")
    short, long = sorted((words_a, words_b), key=len)
    if short in ("yes", "no", "true", "false") and long.split()[0] == short:
        return Outcome(True, f"both say {short}")
    if short.count(" ") >= 3:
        return Outcome(None, "sentences that differ in their words")
    return Outcome(False, "different words")


def _plain(text: str) -> str:
    return " ".join("".join(c if c.isalnum() or c in "+-" else " " for c in text.replace("-", " ")).split())


def ratios(a: Node, b: Node, policy: Policy) -> Outcome:
    if a.head == b.head == "time":
        return _times(a, b)
    a, b = (_as_ratio(node) for node in (a, b))
    if a.head != "ratio":
        a, b = b, a
    if b.head == "ratio":
        if len(a.args) != len(b.args):
            return Outcome(False, "ratios of different lengths")
        if any(algebra.rational(part) == 0 for part in (*a.args, *b.args)):
            return every([scalars.same(x, y, policy) for x, y in zip(a.args, b.args, strict=True)])
        crossed = [(mul(x, b.args[0]), mul(y, a.args[0])) for x, y in zip(a.args[1:], b.args[1:], strict=True)]
        return every([scalars.same(x, y, policy) for x, y in crossed if is_scalar(x) and is_scalar(y)])
    if len(a.args) == 2 and is_scalar(b) and b.head != "quantity":
        return scalars.same(mul(b, a.args[1]), a.args[0], policy)
    return Outcome(False, "a ratio against something else")


def _as_ratio(node: Node) -> Node:
    if node.head != "time" or node.words[2] != "00" or node.words[3]:
        return node
    return Node("ratio", (num(int(node.words[0])), num(int(node.words[1]))))


def _times(a: Node, b: Node) -> Outcome:
    if a.words[1:3] != b.words[1:3]:
        return Outcome(False, "different times")
    hours = [int(node.words[0]) for node in (a, b)]
    halves = [node.words[3] for node in (a, b)]
    if "" in halves:
        afternoon = [
            hour + 12 if half == "pm" and hour < 12 else hour for hour, half in zip(hours, halves, strict=True)
        ]
        equal = hours[0] == hours[1] or afternoon[0] == afternoon[1]
    else:
        equal = hours[0] % 12 == hours[1] % 12 and halves[0] == halves[1]
    return Outcome(equal, "the same time" if equal else "different times")


def based(a: Node, b: Node, policy: Policy) -> Outcome:
    if a.head != "based":
        a, b = b, a
    digits, base = a.words
    if b.head == "based":
        if a.words == b.words:
            return Outcome(True, "the same numeral")
        equal = policy.base == "value" and int(digits, int(base)) == int(b.words[0], int(b.words[1]))
        return Outcome(equal, "the same value in another base" if equal else "different numerals")
    value = algebra.rational(b) if is_scalar(b) else None
    if value == int(digits, int(base)) and (policy.base == "value" or base == "10"):
        return Outcome(True, "the same value in base ten")
    if b.head == "num" and b.places is None and str(b.value) == digits and policy.base == "digits":
        return Outcome(True, "the same digits, the base left out")
    return Outcome(False, f"a numeral in base {base} against one without")


def equations(a: Node, b: Node, policy: Policy) -> Outcome:
    """Two equations: equal if the differences of their sides are proportional."""
    if a.head not in ("equation", "define") or b.head not in ("equation", "define"):
        return Outcome(False, "an equation against something else")
    x, y = (add(node.args[0], negate(node.args[1])) for node in (a, b))
    if not (is_scalar(x.args[0]) and is_scalar(x.args[1]) and is_scalar(y.args[0]) and is_scalar(y.args[1])):
        return Outcome(None, "an equation between things that are no numbers")
    try:
        (top_x, _), (top_y, _) = algebra.normal(x), algebra.normal(y)
        if top_x and top_y:
            quotients = {top_x[mono] / top_y[mono] if mono in top_y else None for mono in top_x}
            if len(top_x) == len(top_y) and len(quotients) == 1 and None not in quotients:
                return Outcome(True, "the same equation but for a factor")
    except (algebra.TooBig, algebra.Undefined) as error:
        return Outcome(None, str(error))
    if numeric.proportional(x, y) is not None:
        return Outcome(True, "the same equation but for a factor")
    return Outcome(False, "different equations")
