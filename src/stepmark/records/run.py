"""Runs: a directory with a manifest and record files, written by one process, resumed after a kill.

    with Run.open("runs/labels", settings) as run:
        done = {(label.problem_id, label.index) for label in run.read("labels", StepLabels)}
        for solution in solutions:
            if (solution.problem_id, solution.index) not in done:
                run.append("labels", label(solution))

A run that was killed and resumed is identical to one that was not: the `digest` of every record file is equal. For
that, what is recorded under a key must depend on the settings (seeds among them) and the key; not on order or time.

The lock is the operating system's (`flock`: Linux and macOS). It ends with the process that holds it, however it ends.
"""

import fcntl
import os
import platform
import re
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path, PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from stepmark.errors import RecordError
from stepmark.records.files import Writer, read, replacing

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")

MANIFEST = "manifest.json"
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class Opening:
    """One start or resumption of a run: when, and with which code."""

    time: str
    """UTC, ISO 8601"""
    git_commit: str | None
    """of the source tree that stepmark runs from, `-dirty` where it had changes; None for an installed package"""
    packages: dict[str, str]
    """versions of Python, stepmark and what it depends on"""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a run is: fixed when it is created, but for the openings."""

    stage: str
    """name of the settings' class"""
    settings: dict[str, Any]
    """all settings, seeds among them"""
    compressed: bool
    """whether record files are `.jsonl.gz` instead of `.jsonl`"""
    openings: tuple[Opening, ...]
    """the first created the run, each later one resumed it"""

    def file(self, name: str) -> str:
        """What the record file `name` is called in the run's directory."""
        return name + (".jsonl.gz" if self.compressed else ".jsonl")


class Run:
    """A run that is open for writing. Make one with `Run.open`; call it from one thread."""

    def __init__(self, path: Path, manifest: Manifest, lock: int, writers: dict[str, Writer]) -> None:
        self.path = path
        self.manifest = manifest
        self._lock = lock
        self._writers = writers

    @classmethod
    def open(cls, path: str | os.PathLike[str], settings: "DataclassInstance", *, compressed: bool = False) -> "Run":
        """Create the run at `path`, or resume it, for this process alone.

        `settings` is a dataclass of what msgspec can encode, and of paths; it holds the seeds. Record files lose what a
        kill left torn. Raises `RecordError` when another process writes the run, when the run was created with other
        settings (the message says which), or when the directory is something else. Nothing is changed then.
        """
        path = Path(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            _refuse_other_directories(path)
            lock = os.open(path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise RecordError(
                f"cannot be a run directory: {error.strerror}", path=path, remedy="give another path"
            ) from error
        try:
            _hold(lock, path)
            manifest = _open_manifest(path, settings, compressed)
            writers = {file.name: Writer(file) for file in sorted(path.glob("*.jsonl.gz" if compressed else "*.jsonl"))}
        except BaseException:
            os.close(lock)
            raise
        return cls(path, manifest, lock, writers)

    def append(self, name: str, record: object) -> None:
        """Append to the record file `name`; when this returns the record survives a kill. Errors as `Writer.append`."""
        file = self.file(name)
        if self._lock < 0:
            raise RecordError("the run is closed", path=self.path, remedy="append inside the `with` block")
        if file.name not in self._writers:
            self._writers[file.name] = Writer(file)
        self._writers[file.name].append(record)

    def read(self, name: str, type: type[T]) -> Iterator[T]:
        """The records of the record file `name` so far; none where nothing was appended to it."""
        file = self.file(name)
        return read(file, type) if file.exists() else iter(())

    def file(self, name: str) -> Path:
        """Where the record file `name` is, or will be."""
        return self.path / self.manifest.file(name)

    def close(self) -> None:
        """Sync the record files to the disk and let others open the run."""
        if self._lock < 0:
            return
        try:
            for writer in self._writers.values():
                writer.close()
        finally:
            os.close(self._lock)
            self._lock = -1

    def __enter__(self) -> "Run":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def read_manifest(path: str | os.PathLike[str]) -> Manifest:
    """The manifest of the run in directory `path`. Raises `RecordError` where there is none or it does not decode."""
    file = Path(path) / MANIFEST
    try:
        return msgspec.json.decode(file.read_bytes(), type=Manifest)
    except OSError as error:
        raise RecordError(
            f"cannot be read: {error.strerror}", path=file, remedy="give the directory of a run"
        ) from error
    except msgspec.DecodeError as error:
        raise RecordError(
            str(error), path=file, remedy="restore it, or start the run anew in an empty directory"
        ) from error


def _refuse_other_directories(path: Path) -> None:
    """A kill before the manifest was written leaves the lock and drafts of the manifest, nothing else."""
    names = {p.name for p in path.iterdir()}
    strangers = sorted(name for name in names if name != LOCK and not name.startswith(f".{MANIFEST}."))
    if strangers and MANIFEST not in names:
        remedy = "give a new or empty directory"
        raise RecordError(f"is no run: it holds {strangers[0]} but no {MANIFEST}", path=path, remedy=remedy)


def _hold(lock: int, path: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(lock, 200, 0).decode(errors="replace").strip() or "another process"
        remedy = "wait for it, end it, or give another path"
        raise RecordError(f"the run is being written by {holder}", path=path, remedy=remedy) from None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)


def _open_manifest(path: Path, settings: "DataclassInstance", compressed: bool) -> Manifest:
    """The manifest with this opening added, on the disk before any record of the opening."""
    now = Manifest(
        stage=type(settings).__name__,
        settings=msgspec.json.decode(msgspec.json.encode(settings, enc_hook=_path_as_text)),
        compressed=compressed,
        openings=(Opening(datetime.now(UTC).isoformat(timespec="seconds"), _git_commit(), _packages()),),
    )
    if (path / MANIFEST).exists():
        created = read_manifest(path)
        differences = list(_differences(created, now))
        if differences:
            remedy = "give the settings that the run was created with, or another path"
            raise RecordError(
                f"the run was created with other settings: {'; '.join(differences)}", path=path, remedy=remedy
            )
        now = replace(created, openings=created.openings + now.openings)
    with replacing(path / MANIFEST) as file:
        file.write(msgspec.json.format(msgspec.json.encode(now)) + b"\n")
    return now


def _differences(created: Manifest, now: Manifest) -> Iterator[str]:
    """What differs, as `name: value in the run, value now`, nested names joined by dots."""

    def walk(name: str, old: object, new: object) -> Iterator[str]:
        if isinstance(old, dict) and isinstance(new, dict):
            for key in dict.fromkeys([*old, *new]):
                yield from walk(f"{name}.{key}" if name else key, old.get(key, "absent"), new.get(key, "absent"))
        elif old != new:
            yield f"{name}: {old!r} in the run, {new!r} now"

    yield from walk("stage", created.stage, now.stage)
    yield from walk("compressed", created.compressed, now.compressed)
    yield from walk("", created.settings, now.settings)


def _path_as_text(value: object) -> str:
    if isinstance(value, PurePath):
        return str(value)
    raise TypeError(f"a setting of type {type(value).__name__} cannot be recorded")


def _packages() -> dict[str, str]:
    """Versions of Python, of stepmark, and of those of its dependencies that are installed."""
    versions = {"python": platform.python_version()}
    for name in ["stepmark", *(re.split(r"[^\w.-]", need)[0] for need in metadata.requires("stepmark") or [])]:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _git_commit() -> str | None:
    """The commit of the source tree that this file is tracked in, if it is."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", Path(__file__).name], capture_output=True, check=False
        )
        if tracked.returncode:
            return None
        command = [*git, "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
