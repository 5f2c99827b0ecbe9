"""Problems of one's own: a line is a problem, or an error with its place."""

import gzip
from pathlib import Path

import pytest

from stepmark import problems
from stepmark.errors import InputError
from stepmark.types import Problem

LINE = '{"id": "a", "question": "1 + 1?", "gold": "2"}\n'


def test_optional_fields_have_plain_defaults(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl.gz"
    path.write_bytes(
        gzip.compress(
            (LINE + '{"id": "b", "question": "?", "gold": "3", "source": "exam", "level": 4, "by": "me"}').encode()
        )
    )
    assert problems.read(path) == [Problem("a", "1 + 1?", "2", "mine"), Problem("b", "?", "3", "exam", 4)]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": "b", "question": "?"}', "missing required field `gold`"),
        ('{"id": "b", "question": "?", "gold": ""}', "gold is empty"),
        ('{"id": "b", "question": "?", "gold": 2}', r"\$\.gold"),
        ('{"id": "b", "question": "?", "gold": "2", "level": "hard"}', r"\$\.level"),
        ('{"id": "a", "question": "?", "gold": "2"}', "line 1 is here again"),
        ('{"id": "b", "quest', "truncated"),
    ],
)
def test_a_bad_line_is_an_error_with_file_and_line(tmp_path: Path, line: str, complaint: str) -> None:
    (tmp_path / "mine.jsonl").write_text(LINE + line)
    with pytest.raises(InputError, match=rf"mine\.jsonl:2: .*{complaint}"):
        problems.read(tmp_path / "mine.jsonl")
