"""Runs: one writer, fixed settings, and a kill at any moment costs nothing but the time to redo what was being written.

`STEPMARK_KILLS=100 pytest tests/records/test_run.py -k killed -s` makes 100 kills per format instead of 8.
"""

import gzip
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from stepmark.errors import RecordError
from stepmark.records import Run, digest, read, read_manifest
from stepmark.types import Sampling, StepLabels

KILLS = int(os.environ.get("STEPMARK_KILLS", "8"))


@dataclass(frozen=True)
class Labelling:
    """Settings of an imagined stage."""

    rollouts: int = 8
    sampling: Sampling = field(default_factory=lambda: Sampling(seed=1))
    problems: Path = Path("problems.jsonl")


def label(index: int, ratings: int = 3) -> StepLabels:
    return StepLabels("p", index, tuple(float(i * index % 7) for i in range(ratings)), "oracle")


@pytest.mark.parametrize("compressed", [False, True])
def test_a_run_resumes_where_it_stopped(tmp_path: Path, compressed: bool) -> None:
    for upto in (2, 5):
        with Run.open(tmp_path / "run", Labelling(), compressed=compressed) as run:
            done = {record.index for record in run.read("labels", StepLabels)}
            assert done == set(range(2 if upto == 5 else 0))
            for index in set(range(upto)) - done:
                run.append("labels", label(index))
            file = run.file("labels")
    assert list(read(file, StepLabels)) == [label(i) for i in range(5)]


def test_the_manifest_says_what_made_the_run(tmp_path: Path) -> None:
    for _ in range(2):
        with Run.open(tmp_path, Labelling()):
            pass
    manifest = read_manifest(tmp_path)
    assert (manifest.stage, manifest.compressed) == ("Labelling", False)
    assert manifest.settings["rollouts"] == 8
    assert manifest.settings["sampling"]["seed"] == 1
    assert manifest.settings["problems"] == "problems.jsonl"
    assert len(manifest.openings) == 2, "a resumption is on record, with the versions of its time"
    assert {"python", "stepmark", "torch", "msgspec"} <= manifest.openings[0].packages.keys()


def test_other_settings_are_refused_and_named(tmp_path: Path) -> None:
    settings = Labelling()
    with Run.open(tmp_path, settings) as run:
        run.append("labels", label(0))
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name != "lock"}
    changed = replace(settings, sampling=replace(settings.sampling, temperature=0.5))
    with pytest.raises(RecordError, match=r"sampling\.temperature: 1\.0 in the run, 0\.5 now"):
        Run.open(tmp_path, changed)
    with pytest.raises(RecordError, match="stage: 'Labelling' in the run, 'Sampling' now"):
        Run.open(tmp_path, Sampling())
    with pytest.raises(RecordError, match="compressed: False in the run, True now"):
        Run.open(tmp_path, settings, compressed=True)
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir() if p.name != "lock"} == before
    Run.open(tmp_path, settings).close()


def test_a_run_has_one_writer(tmp_path: Path) -> None:
    """In another process and in this one; the error names the holder, and the run is free again when that one ends."""
    with Run.open(tmp_path, Labelling()), pytest.raises(RecordError, match=f"process {os.getpid()} "):
        Run.open(tmp_path, Labelling())
    script = (
        "import sys, time; from stepmark.records import Run; from stepmark.types import Sampling\n"
        "Run.open(sys.argv[1], Sampling()); print('open', flush=True); time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", script, tmp_path / "other"], stdout=subprocess.PIPE)
    with other:
        assert other.stdout
        other.stdout.readline()
        with pytest.raises(RecordError, match=f"process {other.pid} "):
            Run.open(tmp_path / "other", Sampling())
        other.kill()
    Run.open(tmp_path / "other", Sampling()).close()


def test_a_directory_that_is_no_run_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RecordError, match=r"thesis\.tex"):
        Run.open(tmp_path, Labelling())
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]
    with pytest.raises(RecordError, match="File exists"):
        Run.open(tmp_path / "thesis.tex", Labelling())


def test_a_kill_before_the_manifest_is_whole_costs_nothing(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("process 1 on elsewhere\n")
    (tmp_path / ".manifest.json.1.tmp").write_text('{"stage": "Lab')
    Run.open(tmp_path, Labelling()).close()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RecordError, match=r"manifest\.json.*stage"):
        Run.open(tmp_path, Labelling())


def test_nothing_is_appended_to_a_closed_run(tmp_path: Path) -> None:
    with Run.open(tmp_path, Labelling()) as run:
        run.append("labels", label(0))
    with pytest.raises(RecordError, match="closed"):
        run.append("labels", label(1))


STAGE = """
import asyncio, random, sys
from stepmark.records import Run
from stepmark.types import Sampling, StepLabels

async def work(run, index):
    await asyncio.sleep(random.random() / 50)   # an order that differs from start to start
    size = 300_000 if index % 8 == 0 else 3     # long enough for a kill to fall within a write
    run.append("labels", StepLabels("p", index, tuple(float(i * index % 7) for i in range(size)), "oracle"))

async def main():
    with Run.open(sys.argv[1], Sampling(), compressed=sys.argv[2] == "True") as run:
        done = {label.index for label in run.read("labels", StepLabels)}
        await asyncio.gather(*(work(run, index) for index in range(60) if index not in done))

asyncio.run(main())
"""


@pytest.mark.timeout(300 + 60 * KILLS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_killed_run_resumes_to_the_identical_result(tmp_path: Path, compressed: bool) -> None:
    """Processes are killed (SIGKILL) at random moments, from their start to their end, and started again until the
    work is done. The records must be those of a run that nobody killed."""
    rng = random.Random(0)
    kills = torn = rounds = 0

    def start(path: Path) -> "subprocess.Popen[bytes]":
        return subprocess.Popen([sys.executable, "-c", STAGE, path, str(compressed)])

    began = time.monotonic()
    assert start(tmp_path / "reference").wait() == 0
    duration = time.monotonic() - began
    name = "labels.jsonl.gz" if compressed else "labels.jsonl"
    expected = digest(tmp_path / "reference" / name)
    while kills < KILLS:
        path = tmp_path / str(rounds)
        rounds += 1
        while True:
            stage = start(path)
            try:
                assert stage.wait(timeout=rng.uniform(0, duration) if kills < KILLS else None) == 0
                break
            except subprocess.TimeoutExpired:
                stage.send_signal(signal.SIGKILL)
                stage.wait()
                kills += 1
                torn += (path / name).exists() and not is_whole(path / name)
        assert digest(path / name) == expected
        (path / name).unlink()
    print(f"{kills} kills of {duration:.2f} s runs, {torn} within a record; {rounds} runs ended, all identical")


def is_whole(path: Path) -> bool:
    """Whether a record file ends with a whole record."""
    data = path.read_bytes()
    if path.suffix != ".gz":
        return data.endswith(b"\n") or not data
    try:
        gzip.decompress(data)
    except (EOFError, gzip.BadGzipFile):
        return False
    return True
