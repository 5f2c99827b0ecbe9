"""Speed and memory of reading a large PRM800K file: `python -m benchmarks.convert --sample FILE`.

The rows of the sample are repeated, each with an id of its own in its question, until the file is as large as asked.
The conversion runs in a process of its own, whose peak memory is printed; it must not grow with the file.
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro


@dataclass(frozen=True)
class Convert:
    """Makes the file in a temporary folder, and converts it."""

    sample: Path = Path("../shared/data/format_samples/prm800k.jsonl.gz")
    """PRM800K rows, plain or .gz"""
    megabytes: tuple[int, ...] = (50, 500)
    """sizes of the file; two show whether memory grows"""
    problems: int = 12_000
    """distinct questions, as PRM800K has"""
    to: Literal["labelled", "stepwise", "records"] = "labelled"
    phase_2: bool = False
    """the rows of phase 2 alone, 98 % of the published data"""


def main(args: Convert) -> None:
    lines = (gzip.open if args.sample.suffix == ".gz" else open)(args.sample, "rb").read().splitlines()
    rows = [json.loads(line) for line in lines]
    if args.phase_2:
        rows = [row for row in rows if row["generation"] is not None]
    with tempfile.TemporaryDirectory() as folder:
        for size in args.megabytes:
            path, out = Path(folder) / "prm800k.jsonl", Path(folder) / "out"
            written = _make(path, rows, size * 10**6, args.problems)
            command = [sys.executable, "-c", CHILD, str(path), str(out), args.to]
            begin = time.perf_counter()
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            seconds = time.perf_counter() - begin
            files = [out] if out.is_file() else list(out.iterdir())
            print(
                f"{written / 1e6:.0f} MB, prm800k to {args.to}: {seconds:.1f} s, {written / 1e6 / seconds:.0f} MB/s "
                f"({written / 1e6 / told['seconds']:.0f} without the start), peak {told['peak'] / 1e3:.0f} MB, "
                f"{told['solutions']:,} labelled solutions, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
            )


CHILD = """
import json, resource, sys, time
from pathlib import Path
from stepmark.formats.convert import convert
begin = time.perf_counter()
done = convert("prm800k", sys.argv[3], Path(sys.argv[1]), Path(sys.argv[2]), neutral="right")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"seconds": time.perf_counter() - begin, "peak": peak, "solutions": done.solutions}))
"""


def _make(path: Path, rows: list[dict[str, object]], size: int, problems: int) -> int:
    written = number = 0
    texts = [json.dumps(row).replace('"problem": "', '"problem": "@', 1) for row in rows]
    with path.open("wb") as file:
        while written < size:
            text = texts[number % len(texts)].replace('"problem": "@', f'"problem": "({number % problems}) ', 1)
            written += file.write(text.encode() + b"\n")
            number += 1
    return written


if __name__ == "__main__":
    main(tyro.cli(Convert))
