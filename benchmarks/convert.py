"""Speed and memory of reading a large PRM800K file: `python -m benchmarks.convert --sample FILE`.

The rows of the sample are repeated, each with an id of its own in its question, until the file is as large as asked.
The conversion runs in a process of its own, whose peak memory is printed; it must not grow with the file.
"""

import gzip
import json
import subprocess
import sys
import tempfile
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
    phase_1: float = 0.018
    """share of the bytes that are sessions of phase 1, with their many alternatives; .018 in the published files"""


def main(args: Convert) -> None:
    lines = (gzip.open if args.sample.suffix == ".gz" else open)(args.sample, "rb").read().splitlines()
    rows = [json.loads(line) for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        for size in args.megabytes:
            path, out = Path(folder) / "prm800k.jsonl", Path(folder) / "out"
            written = _make(path, rows, size * 10**6, args)
            command = [sys.executable, "-c", CHILD, str(path), str(out), args.to]
            told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            files = [out] if out.is_file() else list(out.iterdir())
            speed, alone = (written / 1e6 / told[name] for name in ("seconds", "cpu"))
            print(
                f"{written / 1e6:.0f} MB, prm800k to {args.to}: {told['seconds']:.1f} s, {speed:.0f} MB/s "
                f"({alone:.0f} per CPU second), peak {told['peak'] / 1e3:.0f} MB, {told['solutions']:,} labelled "
                f"solutions, {sum(file.stat().st_size for file in files) / 1e6:.0f} MB"
            )


CHILD = """
import json, resource, sys, time
from pathlib import Path
from stepmark.formats.convert import convert
begin, cpu = time.perf_counter(), time.process_time()
done = convert("prm800k", sys.argv[3], Path(sys.argv[1]), Path(sys.argv[2]), neutral="right")
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "solutions": done.solutions}))
"""


def _make(path: Path, rows: list[dict[str, object]], size: int, args: Convert) -> int:
    """The sample's sessions in turn, of phase 1 whenever their share of the bytes is below what is asked."""
    phases = [[row for row in rows if (row["generation"] is None) == first] for first in (False, True)]
    written, number = [0, 0], 0
    with path.open("wb") as file:
        while sum(written) < size:
            phase = int(written[1] < args.phase_1 * sum(written))
            row = json.dumps(phases[phase][number % len(phases[phase])])
            row = row.replace('"problem": "', f'"problem": "({number % args.problems}) ', 1)
            written[phase] += file.write(row.encode() + b"\n")
            number += 1
    return sum(written)


if __name__ == "__main__":
    main(tyro.cli(Convert))
