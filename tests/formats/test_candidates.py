"""Pools and step scores: read whole, or refused with file, line and remedy."""

import copy
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from stepmark.errors import InputError, ScoreError
from stepmark.formats.candidates import read_candidates, read_step_scores

POOL: list[dict[str, Any]] = [
    {
        "problem_id": "a",
        "question": "1 + 1?",
        "ground_truth": "2",
        "temperature": 0.8,
        "candidates": [
            {"steps": ["one", "two"], "answer": "2", "is_correct": True, "num_tokens": 7},
            {"steps": ["three"], "answer": "3", "is_correct": False, "num_tokens": 5},
        ],
    },
    {"problem_id": "b", "question": "?", "ground_truth": "x", "candidates": [{"steps": ["s"], "answer": None}]},
]
SCORES: list[dict[str, Any]] = [
    {"problem_id": "b", "candidate_index": 0, "step_scores": [0.1]},
    {"problem_id": "a", "candidate_index": 1, "step_scores": [0.2]},
    {"problem_id": "a", "candidate_index": 0, "step_scores": [0.3, 0.4]},
]


def lines(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row) + "\n" for row in rows).encode()
    path.write_bytes(gzip.compress(text) if path.suffix == ".gz" else text)
    return path


@pytest.mark.parametrize("name", ["pool.jsonl", "pool.jsonl.gz"])
def test_a_pool_and_its_scores_are_read_in_the_order_of_the_pool(tmp_path: Path, name: str) -> None:
    pool = read_candidates(lines(tmp_path / name, POOL))
    assert [(one.problem.id, one.problem.gold, one.problem.source) for one in pool] == [
        ("a", "2", "pool"),
        ("b", "x", "pool"),
    ]
    first, last = pool[0].candidates[0], pool[1].candidates[0]
    assert (first.steps, first.answer, first.tokens, first.recorded) == (("one", "two"), "2", 7, True)
    assert (last.answer, last.tokens, last.recorded) == (None, None, None)  # missing is not False
    scores = read_step_scores(lines(tmp_path / "prm.jsonl", SCORES), pool)
    assert scores == (((0.3, 0.4), (0.2,)), ((0.1,),))


def changed(rows: list[dict[str, Any]], *path: str | int, to: Any) -> list[dict[str, Any]]:
    rows = copy.deepcopy(rows)
    place: Any = rows
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = to
    return rows


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        ([], None, "empty"),
        (POOL + POOL[:1], 3, "'a' again"),
        (changed(POOL, 1, "candidates", to=[]), 2, "no candidates"),
        (changed(POOL, 1, "ground_truth", to=" "), 2, "no gold answer"),
        (changed(POOL, 1, "ground_truth", to=None), 2, "no gold answer"),
        (changed(POOL, 0, "candidates", 1, "steps", to=[]), 1, "candidate 1 of problem 'a' has no steps"),
        (changed(POOL, 0, "candidates", 1, "steps", to="one"), 1, "candidates"),
        (changed(POOL, 0, "candidates", 0, "num_tokens", to=-1), 1, "num_tokens"),
        (changed(POOL, 0, "problem_id", to=3), 1, "problem_id"),
        ([{"problem_id": "a", "question": "?"}], 1, "candidates"),
    ],
)
def test_a_broken_pool_is_refused(tmp_path: Path, rows: list[dict[str, Any]], line: int | None, says: str) -> None:
    path = lines(tmp_path / "pool.jsonl", rows)
    with pytest.raises(InputError, match=says) as caught:
        read_candidates(path)
    assert (caught.value.path, caught.value.line) == (path, line)
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("rows", "line", "says"),
    [
        (changed(SCORES, 2, "step_scores", to=[0.3]), 3, "2 steps but 1 scores"),
        (changed(SCORES, 2, "step_scores", to=[0.3, 0.4, 0.5]), 3, "2 steps but 3 scores"),
        (changed(SCORES, 1, "step_scores", to=[]), 2, "1 steps but 0 scores"),
        (changed(SCORES, 1, "step_scores", to=[None]), 2, "null"),
        (changed(SCORES, 1, "step_scores", to=[float("nan")]), 2, "NaN"),
        (changed(SCORES, 1, "step_scores", to=[float("inf")]), 2, "Infinity"),
        (changed(SCORES, 1, "problem_id", to="c"), 2, "no problem 'c'"),
        (changed(SCORES, 1, "candidate_index", to=2), 2, "none has index 2"),
        (changed(SCORES, 1, "candidate_index", to=-1), 2, "none has index -1"),
        (SCORES + SCORES[:1], 4, "scored again"),
        (SCORES[:2], None, "1 of 3 candidates have no scores, the first is candidate 0 of problem 'a'"),
        ([], None, "3 of 3 candidates"),
    ],
)
def test_scores_that_do_not_fit_the_pool_are_refused(
    tmp_path: Path, rows: list[dict[str, Any]], line: int | None, says: str
) -> None:
    """Nothing is padded, cut, or filled in: a result on the rest would not be a result on the pool."""
    pool = read_candidates(lines(tmp_path / "pool.jsonl", POOL))
    path = lines(tmp_path / "prm.jsonl", rows)
    with pytest.raises(InputError, match=says) as caught:
        read_step_scores(path, pool)
    assert (caught.value.path, caught.value.line) == (path, line)
    assert caught.value.remedy


def test_one_kind_of_error_says_that_scores_do_not_fit(tmp_path: Path) -> None:
    pool = read_candidates(lines(tmp_path / "pool.jsonl", POOL))
    with pytest.raises(ScoreError):
        read_step_scores(lines(tmp_path / "prm.jsonl", SCORES[:2]), pool)


@pytest.mark.parametrize("content", [None, b"{", b"no gzip", gzip.compress(b"{}\n" * 1000)[:-9]])
def test_files_that_are_no_json_lines_are_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "pool.jsonl.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError) as caught:
        read_candidates(path)
    assert caught.value.path == path
    assert caught.value.remedy
