"""Record files: what is appended reads back, a kill costs at most the record being written, all else is an error."""

import contextlib
import gzip
import itertools
import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stepmark.errors import InputError, RecordError
from stepmark.records import Writer, digest, json_lines, read, replacing, write
from stepmark.types import Cost, StepLabels

LABELS = [
    StepLabels("a", 0, (1.0, 0.5, None), "oracle", Cost(1, 2, 3, 4, 5)),
    StepLabels('é — ☃ \n "quoted" \\', 1, (), "human"),
    StepLabels("c", 2, (0.1 + 0.2, -1.0, 1e-300), "rollout-soft"),
]
NAMES = ["labels.jsonl", "labels.jsonl.gz"]


@dataclass(frozen=True)
class Loose:
    """A record whose annotations a caller may fail to keep."""

    values: tuple[float | None, ...]


def append(path: Path, labels: list[StepLabels]) -> None:
    writer = Writer(path)
    for label in labels:
        writer.append(label)
    writer.close()


@pytest.mark.parametrize("name", NAMES)
def test_records_read_back_equal_and_in_order(tmp_path: Path, name: str) -> None:
    append(tmp_path / name, LABELS[:2])
    append(tmp_path / name, LABELS[2:])
    assert list(read(tmp_path / name, StepLabels)) == LABELS


def test_compressed_files_are_ordinary_gzip_of_the_plain_ones(tmp_path: Path) -> None:
    for name in NAMES:
        append(tmp_path / name, LABELS)
    assert gzip.decompress((tmp_path / NAMES[1]).read_bytes()) == (tmp_path / NAMES[0]).read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_truncated_at_any_byte_a_file_is_redone_to_the_same_bytes(tmp_path: Path, name: str) -> None:
    """A kill leaves a prefix of what would have been written. Whatever its length, readers see whole records only, in
    order; the reopened writer agrees with the reader; and appending what is missing gives the very same file."""
    path = tmp_path / name
    append(path, LABELS)
    whole = path.read_bytes()
    for cut in range(len(whole) + 1):
        path.write_bytes(whole[:cut])
        seen = list(read(path, StepLabels))
        assert seen == LABELS[: len(seen)]
        writer = Writer(path)
        assert list(read(path, StepLabels)) == seen, "the reader and the writer disagree on what is recorded"
        for label in LABELS[len(seen) :]:
            writer.append(label)
        writer.close()
        assert path.read_bytes() == whole, f"cut at byte {cut}"


@pytest.mark.parametrize(
    "damage",
    [b'{"problem_id": "a"', b"garbage", b"\n", b"\xff\xfe\n", b'{"problem_id": "\xff"}', b'{"problem_id": "a"}\n'],
)
def test_a_broken_line_before_the_last_is_an_error_with_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "labels.jsonl"
    append(path, LABELS)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + damage.rstrip(b"\n") + b"\n" + lines[2])
    with pytest.raises(RecordError) as error:
        list(read(path, StepLabels))
    assert (error.value.path, error.value.line) == (path, 2)


@pytest.mark.parametrize("line", [b'{"problem_id": 7}', b'{"problem_id": "\xff"}', b'{"problem_id": "\xff"}\n'])
def test_a_last_line_that_no_kill_explains_is_kept_and_an_error(tmp_path: Path, line: bytes) -> None:
    path = tmp_path / "labels.jsonl"
    append(path, LABELS[:1])
    path.write_bytes(whole := path.read_bytes() + line)
    with pytest.raises(RecordError, match=r"labels\.jsonl:2"):
        list(read(path, StepLabels))
    with contextlib.suppress(RecordError):
        Writer(path).close()
    assert path.read_bytes().startswith(whole)


def test_a_broken_gzip_member_before_the_last_is_an_error_with_the_file(tmp_path: Path) -> None:
    """Each bit of a middle member is flipped in turn: a record is never lost without an error. (In gzip's header the
    time and the system's name carry no content, so that some flips do no harm.)"""
    path = tmp_path / "labels.jsonl.gz"
    append(path, LABELS[:1])
    start = path.stat().st_size
    append(path, LABELS[1:2])
    end = path.stat().st_size
    append(path, LABELS[2:])
    whole = path.read_bytes()
    for position, bit in itertools.product(range(start, end), range(8)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ (1 << bit)]) + whole[position + 1 :])
        try:
            assert list(read(path, StepLabels)) == LABELS, (position - start, bit)
        except RecordError:
            continue


def test_a_wrong_type_names_the_field(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"problem_id": "a", "index": "zero", "ratings": [], "source": "human"}\n')
    with pytest.raises(RecordError, match=r"labels.jsonl:1: .*\$\.index"):
        list(read(path, StepLabels))


@pytest.mark.parametrize("values", [(float("nan"), 1.0), (float("inf"),), [1.0]])
def test_what_would_not_read_back_is_refused(tmp_path: Path, values: tuple[float, ...]) -> None:
    """JSON has no NaN; written as null it would come back as "not rated"."""
    writer = Writer(tmp_path / "x.jsonl")
    with pytest.raises(RecordError, match="values"):
        writer.append(Loose(values))
    with pytest.raises(RecordError, match="surrogate"):
        writer.append(replace(LABELS[0], source="half a pair: \ud800"))
    writer.close()
    assert (tmp_path / "x.jsonl").read_bytes() == b""


def test_a_failed_write_leaves_nothing_of_its_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that fills up in the middle of a record must not leave half a line for the next record to be glued to."""
    path = tmp_path / "labels.jsonl"
    writer = Writer(path)
    writer.append(LABELS[0])
    real = os.write
    calls = []

    def fill_up(file: int, data: bytes) -> int:
        calls.append(data)
        if len(calls) > 1:
            raise OSError(28, "No space left on device")
        return real(file, data[:7])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fill_up)
        with pytest.raises(RecordError, match="No space left"):
            writer.append(LABELS[1])
    writer.append(LABELS[2])
    writer.close()
    assert list(read(path, StepLabels)) == [LABELS[0], LABELS[2]]


def test_the_digest_ignores_order_and_compression_and_nothing_else(tmp_path: Path) -> None:
    append(tmp_path / "a.jsonl", LABELS)
    append(tmp_path / "b.jsonl.gz", LABELS[::-1])
    append(tmp_path / "fewer.jsonl", LABELS[:2])
    append(tmp_path / "repeated.jsonl", [*LABELS, LABELS[0]])
    assert digest(tmp_path / "a.jsonl") == digest(tmp_path / "b.jsonl.gz")
    assert len({digest(tmp_path / f"{name}.jsonl") for name in ("a", "fewer", "repeated")}) == 3


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.jsonl.gz"])
@pytest.mark.parametrize("ending", ["", "\n", "\n\n", "\r\n"])
def test_other_peoples_last_line_needs_no_newline(tmp_path: Path, name: str, ending: str) -> None:
    rows = [{"x": i, "text": "long " * 40_000} for i in range(3)]  # longer than one read of the file
    data = ("\n".join(json.dumps(row) for row in rows) + ending).encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    assert list(json_lines(tmp_path / name, dict)) == list(enumerate(rows, 1))


def test_other_peoples_broken_files_are_errors_with_file_and_line(tmp_path: Path) -> None:
    """Also a truncated last line, which in a file that we did not write is a loss."""
    plain, packed = tmp_path / "a.jsonl", tmp_path / "a.jsonl.gz"
    for text, line in [('{"x": 1}\n{"x": ', 2), ('{"x": 1}\n\n{"x": NaN}\n', 3), ("[]\n", 1)]:
        plain.write_text(text)
        with pytest.raises(InputError) as error:
            list(json_lines(plain, dict))
        assert (error.value.path, error.value.line) == (plain, line)
    data = gzip.compress(b'{"x": 1}\n' * 100)
    for broken in (data[:-1], data[:20], b"plain text", data[:15] + b"\0\0" + data[17:]):
        packed.write_bytes(broken)
        with pytest.raises(InputError, match=r"a\.jsonl\.gz"):
            list(json_lines(packed, dict))
    for path in (tmp_path / "missing.jsonl", tmp_path):
        with pytest.raises(InputError, match=path.name):
            list(json_lines(path, dict))


@pytest.mark.parametrize("name", NAMES)
def test_whole_files_appear_complete_or_not_at_all(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    write(path, LABELS[:2])

    def failing() -> "list[StepLabels]":
        yield LABELS[2]
        raise ValueError("in the middle")

    with pytest.raises(ValueError, match="in the middle"):
        write(path, failing())
    assert list(read(path, StepLabels)) == LABELS[:2]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    with pytest.raises(InputError, match="nowhere"), replacing(tmp_path / "nowhere" / "x"):
        pass
