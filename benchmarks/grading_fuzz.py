"""How the grader holds under many random answers.

    python -m benchmarks.grading_fuzz [--pairs 100000] [--strings 1000000] [--seed 0]

Prints, with every counterexample: perturbations of gold answers that were accepted (sign, digit, exponent, bracket,
dropped element, swapped entries); pairs with different verdicts in the two orders, answers that do not equal
themselves; rewritings by identities that were not accepted; and for random and hostile strings the slowest call,
exceptions and internal errors.
"""

import argparse
import gzip
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path

from stepmark.grading import equal, extract
from stepmark.grading.grader import INTERNAL

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "shared" / "data"))


def golds() -> list[str]:
    """The distinct gold answers of GSM8K, MATH-500 and MATH train; empty without the data."""
    found = []
    for name, field in (("gsm8k/test", "answer"), ("math/math500", "answer"), ("math/train_answers", "final_answer")):
        path = DATA / f"{name}.jsonl.gz"
        if path.exists():
            with gzip.open(path, "rt") as lines:
                found += [json.loads(line)[field].rpartition("#### ")[2].strip() for line in lines]
    return [gold for gold in dict.fromkeys(found) if gold]


# answers out of nothing


def answers(rng: random.Random) -> Iterator[str]:
    """Random answers of all the kinds that golds have."""

    def number() -> str:
        return str(rng.choice((rng.randint(-9, 9), rng.randint(10, 99), rng.randint(100, 99_999))))

    def positive() -> str:
        return str(rng.randint(2, 99))

    def scalar() -> str:
        return rng.choice(
            (
                number,
                lambda: rf"\frac{{{number()}}}{{{positive()}}}",
                lambda: f"{rng.randint(-99, 99)}.{rng.randint(1, 999)}",
                lambda: rf"{positive()}\sqrt{{{positive()}}}",
                lambda: rf"{number()}+{positive()}\sqrt{{{positive()}}}",
                lambda: rf"\frac{{{positive()}\pi}}{{{positive()}}}",
                lambda: f"{positive()}^{{{rng.randint(2, 9)}}}",
                lambda: f"{number()}+{positive()}i",
                lambda: rf"\sqrt[{rng.randint(3, 5)}]{{{positive()}}}",
            )
        )()

    def polynomial() -> str:
        x = rng.choice("xyztn")
        return f"{positive()}{x}^{rng.randint(2, 5)}-{positive()}{x}+{positive()}"

    def interval() -> str:
        low, width = rng.randint(-50, 50), rng.randint(1, 50)
        return f"{rng.choice('([')}{low},{low + width}{rng.choice(')]')}"

    kinds: tuple[Callable[[], str], ...] = (
        scalar,
        polynomial,
        interval,
        lambda: f"({scalar()}, {scalar()}, {scalar()})",
        lambda: ", ".join(scalar() for _ in range(rng.randint(2, 5))),
        lambda: r"\{" + ", ".join(scalar() for _ in range(rng.randint(2, 5))) + r"\}",
        lambda: rf"\begin{{pmatrix}} {number()} & {scalar()} \\ {scalar()} & {number()} \end{{pmatrix}}",
        lambda: f"y = {positive()}x - {positive()}",
        lambda: rf"x \le {number()}",
        lambda: rf"{positive()}\text{{ cm}}^{rng.randint(2, 3)}",
        lambda: rf"{positive()}\%",
        lambda: rf"{positive()}^\circ",
        lambda: f"{rng.randint(1, 9)}:{rng.randint(1, 9)}",
        lambda: f"{rng.randint(10, 99)}_{{{rng.randint(10, 16)}}}",
        lambda: rf"\frac{{{polynomial()}}}{{{positive()}x+{positive()}}}",
        lambda: rf"{positive()}\sin {positive()}x",
    )
    while True:
        yield rng.choice(kinds)()


# answers that are wrong

_DIGITS = re.compile(r"[0-9]+")
_EXPONENT = re.compile(r"\^\{?([0-9]+)\}?")
_INTERVAL = re.compile(r"^\s*(?:\\left)?\s*[\[(]([^\[\](),]+),([^\[\](),]+)(?:\\right)?\s*[\])]\s*$")


def perturbed(gold: str, rng: random.Random) -> tuple[str, str] | None:
    """(what was done, the gold with one small change that makes it wrong); None where the change does not apply."""
    kind = rng.choice(("sign", "digit", "digit", "exponent", "bracket", "drop", "swap", "longer"))
    change = {
        "sign": _sign,
        "digit": _digit,
        "exponent": _exponent,
        "bracket": _bracket,
        "drop": _drop,
        "swap": _swap,
        "longer": _longer,
    }[kind]
    changed = change(gold, rng)
    return None if changed is None or changed == gold or _harmless(gold, changed) else (kind, changed)


def _sign(gold: str, rng: random.Random) -> str | None:
    if not re.fullmatch(r"[-0-9.]+|-?\\d?frac\{?[0-9]+\}?\{?[0-9]+\}?|-?[0-9]*\\sqrt\{?[0-9]+\}?", gold):
        return None
    return gold[1:] if gold[0] == "-" else "-" + gold


def _digit(gold: str, rng: random.Random) -> str | None:
    runs = list(_DIGITS.finditer(gold))
    if not runs:
        return None
    run = rng.choice(runs)
    position = rng.randrange(run.start(), run.end())
    digit = rng.choice([d for d in "123456789" if d != gold[position]])
    return gold[:position] + digit + gold[position + 1 :]


def _exponent(gold: str, rng: random.Random) -> str | None:
    found = list(_EXPONENT.finditer(gold))
    if not found:
        return None
    one = rng.choice(found)
    return gold[: one.start()] + f"^{{{int(one[1]) + rng.choice((1, 2))}}}" + gold[one.end() :]


def _bracket(gold: str, rng: random.Random) -> str | None:
    if not _INTERVAL.match(gold):
        return None
    ends = [
        i for i, c in enumerate(gold) if c in "()[]" and "infty" not in (gold[:i][-8:] if c in ")]" else gold[i:][:9])
    ]
    if not ends:
        return None
    at = rng.choice(ends)
    return gold[:at] + {"(": "[", "[": "(", ")": "]", "]": ")"}[gold[at]] + gold[at + 1 :]


def _entries(gold: str) -> tuple[str, list[str], str] | None:
    """The entries of a flat tuple, set or list."""
    found = re.fullmatch(r"((?:\\left)?\(|\\\{|)([^()\[\]]+?)(\s*(?:\\right)?\)|\\\}|)", gold)
    if (
        not found
        or bool(found[1]) != bool(found[3])
        or found[2].startswith("\\{")
        or ",\\" in gold
        or "{,}" in gold
        or "," not in found[2]
        or "text" in gold
        or "begin" in gold
        or "!" in gold
    ):
        return None
    if re.fullmatch(r"[-0-9,]*[0-9],[0-9]{3}", gold):
        return None
    return found[1], found[2].split(","), found[3]


def _drop(gold: str, rng: random.Random) -> str | None:
    parts = _entries(gold)
    if parts is None or len(parts[1]) < 2 or len({entry.strip() for entry in parts[1]}) < len(parts[1]):
        return None
    entries = list(parts[1])
    del entries[rng.randrange(len(entries))]
    return parts[0] + ",".join(entries) + parts[2]


def _swap(gold: str, rng: random.Random) -> str | None:
    parts = _entries(gold)
    if parts is None or "(" not in parts[0]:
        return None
    entries = list(parts[1])
    i, j = rng.sample(range(len(entries)), 2)
    if entries[i].strip() == entries[j].strip():
        return None
    entries[i], entries[j] = entries[j], entries[i]
    return parts[0] + ",".join(entries) + parts[2]


def _longer(gold: str, rng: random.Random) -> str | None:
    run = _DIGITS.search(gold)
    if not run or "." in gold:
        return None
    return gold[: run.end()] + rng.choice("0123456789") + gold[run.end() :]


def _harmless(gold: str, changed: str) -> bool:
    """Changes that leave the value: in a power of 0, 1 or i, a product with 0, a numerator of 0, a trailing zero of a
    decimal, the order of a list. Judged by the text alone, not by the grader."""
    zero = re.compile(r"(?<![0-9.])0(?![0-9.])|(?<![0-9.])1\^|i\^")
    return bool(zero.search(gold) or zero.search(changed)) or re.sub(r"0+$", "", gold) == re.sub(r"0+$", "", changed)


# answers that are right in another way


def rewritten(gold: str, rng: random.Random) -> tuple[str, str]:
    """(what was done, the gold answer written differently)."""
    ways = [w for w in _REWRITINGS if (text := w(gold, rng)) is not None and text != gold]
    way = rng.choice(ways)
    text = way(gold, rng)
    assert text is not None
    return way.__name__.strip("_"), text


def _dollars(gold: str, rng: random.Random) -> str | None:
    return rng.choice(("${}$", r"\({}\)", r"$\boxed{{{}}}$", " {} ", "{}.", r"\[ {} \]")).format(gold)


def _fractions(gold: str, rng: random.Random) -> str | None:
    return re.sub(r"\\[dt]?frac", lambda _: rng.choice((r"\frac", r"\dfrac", r"\tfrac", r"\cfrac")), gold)


def _slash(gold: str, rng: random.Random) -> str | None:
    if re.search(r"[0-9] \\|sec|sin|cos", gold):  # mixed numbers, and arguments without brackets
        return None
    return re.sub(r"(?<![0-9])\\[dt]?frac\{(-?[0-9]+)\}\{([0-9]+)\}", r"(\1/\2)", gold)


def _scaled(gold: str, rng: random.Random) -> str | None:
    factor = rng.randint(2, 9)
    found = re.fullmatch(r"(-?)\\d?frac\{([0-9]+)\}\{([0-9]+)\}", gold)
    return rf"{found[1]}\frac{{{int(found[2]) * factor}}}{{{int(found[3]) * factor}}}" if found else None


def _decimal(gold: str, rng: random.Random) -> str | None:
    found = re.fullmatch(r"(-?)\\d?frac\{([0-9]+)\}\{([0-9]+)\}", gold)
    if not found or int(found[3]) == 0:
        return None
    value = Fraction(int(found[2]), int(found[3])) * 10**6
    return f"{found[1]}{int(value) // 10**6}.{int(value) % 10**6:06d}" if value.denominator == 1 else None


def _thousands(gold: str, rng: random.Random) -> str | None:
    mark = rng.choice((",", "{,}", r",\!", " "))
    return f"{int(gold):,}".replace(",", mark) if re.fullmatch(r"[0-9]{4,9}", gold) else None


def _sized(gold: str, rng: random.Random) -> str | None:
    if re.search(r"\\left|\\right|[\[)(\]].*[|]", gold) or not re.search(r"[()\[\]]", gold):
        return None
    return (
        re.sub(r"(?<!\\)([\])])", r"\\right\1", re.sub(r"(?<![\\t])([\[(])", r"\\left\1", gold))
        if "sqrt[" not in gold
        else None
    )


def _named(gold: str, rng: random.Random) -> str | None:
    return f"{rng.choice(('x', 'k', 'AB', 'N', 'm'))} = {gold}" if re.fullmatch(r"-?[0-9./\\{}frac]+", gold) else None


def _order(gold: str, rng: random.Random) -> str | None:
    parts = _entries(gold)
    if parts is None or "(" in parts[0] or re.search(r"[=<>]", gold):
        return None
    entries = [entry.strip() for entry in parts[1]]
    rng.shuffle(entries)
    return parts[0] + ", ".join(entries) + parts[2]


def _unit(gold: str, rng: random.Random) -> str | None:
    unit = rng.choice((r"\text{ cm}", r" \text{ apples}", " dollars", r"\,\mathrm{kg}", r"\text{ square units}"))
    return gold + unit if re.fullmatch(r"[0-9.,]+|\\frac\{[0-9]+\}\{[0-9]+\}", gold) else None


def _commuted(gold: str, rng: random.Random) -> str | None:
    terms = re.findall(r"[+-]?[^+-]+", gold)
    if (
        len(terms) < 2
        or not re.fullmatch(r"[-+0-9a-z^{}\\ ]+", gold)
        or re.search(r"\{[^}]*[-+]|text|circ|le |begin|frac", gold)
    ):
        return None
    rng.shuffle(terms)
    return "".join(term if term[0] in "+-" else "+" + term for term in terms).lstrip("+")


def _added_zero(gold: str, rng: random.Random) -> str | None:
    n = rng.randint(1, 99)
    return (
        f"{gold}+{n}-{n}"
        if re.fullmatch(r"[-+0-9a-df-z^{}]+|[0-9]*\\sqrt\{[0-9]+\}", gold) and "_" not in gold
        else None
    )


def _doubled(gold: str, rng: random.Random) -> str | None:
    scalar = re.fullmatch(r"[0-9]+|\\frac\{-?[0-9]+\}\{[0-9]+\}|[0-9]*\\sqrt\{[0-9]+\}", gold)
    return rf"\frac{{{2}\cdot {gold}}}{{2}}" if scalar else None


def _unicode(gold: str, rng: random.Random) -> str | None:
    plain = gold.replace(r"\pi", "π").replace(r"\infty", "∞").replace(r"\cup", "∪").replace("-", "−")
    return plain.replace(r"\le ", "≤ ").replace(r"^\circ", "°") if "frac" not in gold else None


_REWRITINGS: tuple[Callable[[str, random.Random], str | None], ...] = (
    _dollars, _fractions, _slash, _scaled, _decimal, _thousands, _sized, _named, _order, _unit, _commuted, _added_zero,
    _doubled, _unicode,
)  # fmt: skip


# strings that are no answers

_NOTATION = (
    r"\frac \sqrt \boxed \text \left( \right) \begin{pmatrix} \end{pmatrix} \cup \in \infty \pm \le \ge \ne \sin \log "
    r"\pi \{ \} \\ & $ $$ { } ( ) [ ] ^ _ + - * / ! % | : ; , . = < > ' \" 0 1 2 9 99 1,000 0.5 x y e i n f(x) AB and "
    r"or cm dollars __import__('os') {0} %s \x00 #### Answer: 9**9**9 99999999! 10^{10^{10}} ² √ ∞ а ١ "
    r"\int \sum_{k=1}^{n} dx \lim"
)
_PIECES = _NOTATION.split()


def strings(rng: random.Random) -> Iterator[str]:
    """Random strings: pieces of notation in no order, broken golds, characters."""
    bank = golds() or ["1"]
    while True:
        match rng.randrange(4):
            case 0 | 1:
                yield rng.choice(("", " ")).join(rng.choices(_PIECES, k=rng.randint(1, 14)))
            case 2:
                text = rng.choice(bank)
                at = rng.randrange(len(text) + 1)
                yield text[:at] + rng.choice(_PIECES) + text[at + rng.randrange(3) :]
            case _:
                yield "".join(
                    chr(rng.choice((rng.randint(0, 127), rng.randint(0, 0x2FFF)))) for _ in range(rng.randint(1, 30))
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--strings", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rng = random.Random(options.seed)
    bank, made = golds(), answers(rng)

    def gold() -> str:
        return rng.choice(bank) if bank and rng.random() < 0.5 else next(made)

    tried = accepted = 0
    while tried < options.pairs:
        right = gold()
        wrong = perturbed(right, rng)
        if wrong is not None:
            tried += 1
            if equal(right, wrong[1]).correct:
                accepted += 1
                print(f"  accepted {wrong[0]}: {right!r} {wrong[1]!r} ({equal(right, wrong[1]).reason})")
    print(f"perturbations: {accepted} accepted of {tried}", flush=True)

    rejected = 0
    for _ in range(options.pairs):
        right = gold()
        how, other = rewritten(right, rng)
        if not equal(right, other).correct:
            rejected += 1
            if rejected <= 100:
                print(f"  rejected {how}: {right!r} {other!r} ({equal(right, other).reason})")
    print(f"rewritings: {options.pairs - rejected} accepted of {options.pairs}", flush=True)

    noise = strings(rng)
    asymmetric = irreflexive = 0
    for _ in range(options.pairs):
        a, b = (gold() if rng.random() < 0.7 else next(noise) for _ in range(2))
        asymmetric += equal(a, b) != equal(b, a)
        irreflexive += bool(a.strip()) and not equal(a, f" {a} ").correct
    print(f"pairs: {asymmetric} asymmetric, {irreflexive} not equal to themselves, of {options.pairs}", flush=True)

    faults, slowest, culprit = 0, 0.0, ""
    for _ in range(options.strings):
        text, other = next(noise), gold()
        started = time.process_time()
        verdict = equal(other, text)
        extract(text)
        seconds = time.process_time() - started
        if verdict.reason.startswith(INTERNAL):
            faults += 1
            print(f"  {other!r} {text!r}: {verdict.reason}")
        if seconds > slowest:
            slowest, culprit = seconds, text
    print(
        f"strings: {faults} faults of {options.strings}; slowest {slowest:.3f} s of one core: {culprit!r}", flush=True
    )


if __name__ == "__main__":
    main()
