"""Our grader beside Math-Verify, on the same pairs, one core each, in one run.

    python -m benchmarks.grading [--pairs 3000] [--math-verify PYTHON]

The pairs are golds of GSM8K and MATH against solution texts: half end in their own gold, half in the gold of another
problem. Each grader extracts the answer from the text and compares it, one pair at a time, with its own limits on.
Math-Verify runs under the interpreter PYTHON that can import it (by default this one). Prints for each: pairs per
second of processor time, the median, 99th percentile and slowest call, own golds accepted and others' accepted.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.grading_fuzz import DATA, golds
from stepmark.grading import equal, reading

_MATH_VERIFY = """
import json, sys, time
from math_verify import parse, verify
pairs = json.load(open(sys.argv[1]))
parse("$1$"); verify(parse("$1$"), parse("$2$"))
rows = []
for gold, text in pairs:
    wall, cpu = time.perf_counter(), time.process_time()
    equal = verify(parse("$" + gold + "$"), parse(text))
    rows.append((bool(equal), time.process_time() - cpu, time.perf_counter() - wall))
json.dump(rows, sys.stdout)
"""


def make_pairs(n: int) -> list[tuple[str, str]]:
    """(gold, solution text), half of them right."""
    bank, rng = golds(), random.Random(0)
    if not bank:
        raise SystemExit(f"no golds under {DATA}: set STEPMARK_DATA")
    pairs = []
    for index in range(n):
        gold = rng.choice(bank)
        answer = gold if index % 2 == 0 else rng.choice(bank)
        pairs.append((gold, f"We compute step by step.\nTherefore the answer is $\\boxed{{{answer}}}$."))
    return pairs


def ours(pairs: list[tuple[str, str]]) -> list[tuple[bool, float, float]]:
    equal(r"\frac{\sqrt{2}}{3}", r"\sin 1")  # imports, as math_verify's import is not counted
    rows = []
    for gold, text in pairs:
        wall, cpu = time.perf_counter(), time.process_time()
        correct = equal(gold, reading(text)[0] or "").correct
        rows.append((correct, time.process_time() - cpu, time.perf_counter() - wall))
    return rows


def theirs(pairs: list[tuple[str, str]], python: str) -> list[tuple[bool, float, float]]:
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(pairs, file)
        file.flush()
        command = [python, "-c", _MATH_VERIFY, file.name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    return [(equal, cpu, wall) for equal, cpu, wall in json.loads(done.stdout)]


def show(name: str, rows: list[tuple[bool, float, float]]) -> float:
    cpu = [seconds for _, seconds, _ in rows]
    rate = len(rows) / sum(cpu)
    right = sum(equal for equal, _, _ in rows[::2]) / len(rows[::2])
    wrong = sum(equal for equal, _, _ in rows[1::2]) / len(rows[1::2])
    cut = statistics.quantiles(cpu, n=100)[98]
    print(
        f"{name:12} {rate:9.0f} pairs/s  median {1e3 * statistics.median(cpu):.3f} ms  p99 {1e3 * cut:.2f} ms  "
        f"slowest {1e3 * max(cpu):.1f} ms cpu, {1e3 * max(wall for _, _, wall in rows):.0f} ms wall  "
        f"own golds accepted {100 * right:.2f} %, others' {100 * wrong:.2f} %"
    )
    return rate


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3_000)
    parser.add_argument("--math-verify", type=Path, default=Path(sys.executable), metavar="PYTHON")
    options = parser.parse_args()
    pairs = make_pairs(options.pairs)
    rate = show("stepmark", ours(pairs))
    other = show("math-verify", theirs(pairs, str(options.math_verify)))
    print(f"stepmark grades {rate / other:.0f} times as many pairs per second of one core")


if __name__ == "__main__":
    main()
