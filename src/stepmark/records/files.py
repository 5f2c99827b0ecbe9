"""JSON-lines files: our own record files, and other people's.

A record file holds one JSON object per line, each the encoding of a frozen dataclass. A name that ends in `.gz` makes
it compressed, every record a gzip member of its own: any gzip tool reads it, and an append needs no earlier state.

**What a kill leaves.** A record exists once its JSON object is whole in the file. A process killed while it writes
leaves at most one torn record, at the very end; readers pass over it, and the next writer cuts it off, so that it is
redone. Any other line that does not decode is a `RecordError` that names file, line and field. This holds for a killed
process; a machine that loses power may lose what the system had not yet put on the disk (closing a file syncs it).

**Identity.** The order of records tells when they were finished, which under concurrency is chance. Two record files
are the same when they hold the same records in any order, that is when their `digest` is equal. A stage meets this by
recording under each key what depends on the settings and the key alone; readers that need an order sort by the key.
"""

import hashlib
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import msgspec

from stepmark.errors import InputError, RecordError

T = TypeVar("T")

GZIP = 31
"""zlib's window size for deflate data within a gzip header and trailer"""
HEADER = b"\x1f\x8b\x08" + bytes(6)
"""how each gzip member that is written here begins: deflate, no flags, no time"""
CHUNK = 1 << 16


def read(path: str | os.PathLike[str], type: type[T]) -> Iterator[T]:
    """The records of a record file, in the order they were appended; a torn last record is passed over.

    Raises `RecordError` for a file that cannot be opened and for any other line that does not decode as `type`.
    """
    path = Path(path)
    decode = msgspec.json.Decoder(type).decode
    with _failures_named(path, RecordError, "restore the file, or remove it and compute its records again"):
        try:
            for number, line in enumerate(_lines(path), 1):
                try:
                    yield decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    if not line.endswith(b"\n") and not isinstance(error, msgspec.ValidationError | UnicodeDecodeError):
                        return  # torn
                    raise RecordError(
                        str(error), path=path, line=number, remedy=f"expected a record of type {type.__name__}"
                    ) from None
        except EOFError:
            return  # the last gzip member is torn


def json_lines(
    path: str | os.PathLike[str], type: type[T], decode: Callable[[bytes], T] | None = None
) -> Iterator[tuple[int, T]]:
    """(line number from 1, value) for each line of a JSON-lines file that somebody else wrote, plain or `.gz`.

    Blank lines are passed over; the last line needs no newline. Unknown fields are ignored by `type`, missing ones and
    wrong types raise `InputError` with file, line and field, as does a file that is missing, truncated or no gzip file.
    `decode` makes values of lines in place of msgspec, and raises what it raises.
    """
    path = Path(path)
    decode = decode or msgspec.json.Decoder(type).decode
    with _failures_named(path, InputError, "check the path, or download the file again"):
        try:
            for number, line in enumerate(_lines(path), 1):
                if not line.strip():
                    continue
                try:
                    value = decode(line)
                except msgspec.ValidationError as error:
                    raise InputError(
                        str(error), path=path, line=number, remedy="compare the line with the expected format"
                    ) from None
                except (msgspec.DecodeError, UnicodeDecodeError) as error:
                    remedy = "each line is one JSON value in UTF-8; JSON knows no NaN and no Infinity"
                    raise InputError(str(error), path=path, line=number, remedy=remedy) from None
                yield number, value
        except EOFError:
            raise InputError("the gzip file is truncated", path=path, remedy="download the file again") from None


def write(path: str | os.PathLike[str], records: Iterable[object]) -> None:
    """Write a whole JSON-lines file at once (`.gz`: compressed as one member). It appears complete or not at all."""
    path = Path(path)
    squeeze = zlib.compressobj(wbits=GZIP) if path.suffix == ".gz" else None
    with replacing(path) as file:
        for record in records:
            line = encode(record)
            file.write(squeeze.compress(line) if squeeze else line)
        if squeeze:
            file.write(squeeze.flush())


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file that becomes `path` when the block ends; after an exception `path` is as it was before."""
    path = Path(path)
    draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with draft.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        raise InputError(
            f"cannot be written: {error.strerror or error}", path=path, remedy="give a writable path"
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a record file's records, whatever their order and the file's compression; repeats count."""
    return hashlib.sha256(b"\n".join(sorted(msgspec.json.encode(record) for record in read(path, dict)))).hexdigest()


class Writer:
    """Appends records to one file, from which it first cuts what a kill left torn. One writer at a time: see `Run`."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        tail = _cut_tail(self.path) if self.path.exists() else b""
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        self._size = os.fstat(self._file).st_size
        if tail:
            self._append(tail)

    def append(self, record: object) -> None:
        """Append one record; when this returns it survives a kill of the process.

        Raises `RecordError` when the record would not read back equal to itself (a NaN, a list for a tuple) or the
        system refuses the bytes (a full disk); nothing of it is then left in the file.
        """
        self._append(encode(record))

    def _append(self, line: bytes) -> None:
        data = _member(line) if self.path.suffix == ".gz" else line
        try:
            written = 0
            while written < len(data):
                written += os.write(self._file, data[written:])
        except BaseException as error:
            os.ftruncate(self._file, self._size)
            if isinstance(error, OSError):
                remedy = "make room and run the same command again: it resumes"
                raise RecordError(f"cannot be written: {error.strerror}", path=self.path, remedy=remedy) from error
            raise
        self._size += len(data)

    def close(self) -> None:
        """Sync the file to the disk and close it."""
        if self._file >= 0:
            os.fsync(self._file)
            os.close(self._file)
            self._file = -1


@cache
def _decoder(type: Any) -> msgspec.json.Decoder[Any]:
    return msgspec.json.Decoder(type)


def encode(record: object) -> bytes:
    """One line of JSON that decodes to an equal record, or `RecordError`. (JSON has no NaN: msgspec writes null, which
    may be valid.)"""
    kind: Any = type(record)
    try:
        line = msgspec.json.encode(record)
        back = _decoder(kind).decode(line)
    except (msgspec.ValidationError, UnicodeEncodeError) as error:
        raise RecordError(f"a {kind.__name__} cannot be recorded: {error}") from None
    if back != record:
        changed: Any = record  # the field at fault, where the record has fields
        names = [field.name for field in fields(changed)] if hasattr(kind, "__dataclass_fields__") else []
        fault = next(
            (f", field {n}: {getattr(changed, n)!r}" for n in names if getattr(changed, n) != getattr(back, n)), ""
        )
        raise RecordError(f"a {kind.__name__} does not read back as it is written{fault}")
    return line + b"\n"


def _member(line: bytes) -> bytes:
    squeeze = zlib.compressobj(wbits=GZIP)
    return squeeze.compress(line) + squeeze.flush()


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file with their newlines; the last may lack one. EOFError follows the last line of a gzip file
    that ends within a member."""
    with path.open("rb") as file:
        if path.suffix != ".gz":
            yield from file
            return
        rest, torn = b"", False
        pieces = _gunzip(file)
        while True:
            try:
                piece, _ = next(pieces)
            except StopIteration:
                break
            except EOFError:
                torn = True
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line + b"\n"
        if rest:
            yield rest
        if torn:
            raise EOFError


def _gunzip(file: BinaryIO) -> Iterator[tuple[bytes, int]]:
    """Decompressed pieces, each with the offset in the file at which the last whole gzip member ended."""
    inflate, whole, offset = zlib.decompressobj(GZIP), 0, 0
    while chunk := file.read(CHUNK):
        while chunk:
            piece = inflate.decompress(chunk)
            offset += len(chunk) - len(inflate.unused_data)
            chunk = inflate.unused_data
            if inflate.eof:
                inflate, whole = zlib.decompressobj(GZIP), offset
            yield piece, whole
    if whole != offset:
        file.seek(whole)
        if HEADER in file.read()[1:]:  # a damaged member that swallows those after it is no torn one
            raise zlib.error(f"the member at byte {whole} is damaged")
        raise EOFError


def _cut_tail(path: Path) -> bytes:
    """Truncate a file after its last terminated record. What came after it is returned if it is whole, else dropped."""
    tail, whole = b"", 0
    with (
        _failures_named(path, RecordError, "restore the file, or remove it and compute its records again"),
        path.open("rb") as file,
    ):
        if path.suffix == ".gz":
            try:
                for piece, end in _gunzip(file):
                    tail, whole = (tail + piece, whole) if end == whole else (b"", end)
            except EOFError:
                pass
        else:
            for line in file:
                tail, whole = (b"", whole + len(line)) if line.endswith(b"\n") else (line, whole)
        if b"\n" in tail[:-1]:
            raise RecordError(
                "the last gzip member is torn and holds several records", path=path, remedy="restore the file"
            )
        try:
            msgspec.json.decode(tail)
        except msgspec.DecodeError:
            tail = b""
        except UnicodeDecodeError as error:
            raise RecordError(f"the last line is not UTF-8: {error}", path=path, remedy="restore the file") from None
        if path.stat().st_size > whole:
            os.truncate(path, whole)
    return tail.rstrip(b"\n") + b"\n" if tail else b""


@contextmanager
def _failures_named(path: Path, error: type[InputError], remedy: str) -> Iterator[None]:
    """Turn what the system and zlib say of a file into a typed error that names it."""
    try:
        yield
    except OSError as failure:
        raise error(f"cannot be read: {failure.strerror}", path=path, remedy=remedy) from failure
    except zlib.error as failure:
        raise error(f"not gzip data: {failure}", path=path, remedy=remedy) from failure
