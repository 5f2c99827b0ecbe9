"""`stepmark evaluate pool`, through the front door."""

import html
import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from stepmark.cli.main import main

QUICK = ["--resamples", "200", "--subsets", "50"]


def candidates() -> list[dict[str, Any]]:
    """Three problems with four candidates each: 3, 2 and 1 of them right, in two spellings."""
    right = ["7", "7.0", "7"]
    return [
        {
            "problem_id": f"p{p}",
            "question": "?",
            "ground_truth": "7",
            "candidates": [
                {"steps": ["a", "b"], "answer": answer, "is_correct": answer != "8", "num_tokens": 10}
                for answer in right[: 3 - p] + ["8"] * (p + 1)
            ],
        }
        for p in range(3)
    ]


def scores(value: float = 0.9) -> list[dict[str, Any]]:
    """A reward model that prefers the first candidate, which is right."""
    return [
        {"problem_id": f"p{p}", "candidate_index": i, "step_scores": [0.5, value if i == 0 else 0.2]}
        for p in range(3)
        for i in range(4)
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    put(tmp_path / "pool.jsonl", candidates())
    put(tmp_path / "good_prm.jsonl", scores())
    return tmp_path


def put(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluate(folder: Path, *options: str) -> int:
    return main(["evaluate", "pool", "--candidates", str(folder / "pool.jsonl"), *QUICK, *options])


def test_the_json_has_the_documented_shape(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = files / "out.json"
    assert evaluate(files, "--scores", str(files / "good_prm.jsonl"), "--n", "1,2,4", "--json", str(out)) == 0
    result = json.loads(out.read_text())
    assert (result["problems"], result["pass@1"], result["ungraded"]) == (3, pytest.approx(0.5), 0)
    rows = {(row["method"], row["scores"], row["aggregate"], row["n"]): row for row in result["curves"]}
    methods = [("best_of_n", "good_prm", "last"), ("weighted_vote", "good_prm", "last"), ("majority", None, None)]
    assert set(rows) == {(*method, n) for method in methods for n in (1, 2, 4)}
    assert all(row["low"] <= row["accuracy"] <= row["high"] for row in rows.values())
    assert rows["best_of_n", "good_prm", "last", 4]["accuracy"] == 1
    assert rows["majority", None, None, 4]["accuracy"] == pytest.approx(0.5)  # 3 of 4, a tie, 1 of 4
    assert rows["majority", None, None, 4]["generated_tokens"] == 40
    assert {row["method"] for row in result["oracle"]} == {"oracle"}
    assert result["disagreements"]["candidates"] == 0
    printed = capsys.readouterr().out
    for word in ("best_of_n", "weighted_vote", "majority", "good_prm, last", "100.00"):
        assert word in printed


def test_aggregations_and_files_multiply(files: Path) -> None:
    put(files / "other.jsonl", scores(0.1))
    out = files / "out.json"
    named = [str(files / "good_prm.jsonl"), str(files / "other.jsonl")]
    assert evaluate(files, "--scores", *named, "--aggregate", "min", "--aggregate", "product", "--json", str(out)) == 0
    found = {(row["scores"], row["aggregate"]) for row in json.loads(out.read_text())["curves"]}
    assert found == {(name, how) for name in ("good_prm", "other") for how in ("min", "product")} | {(None, None)}


def test_recorded_labels_replace_the_grader_only_when_asked_for(files: Path) -> None:
    rows = candidates()
    rows[0]["candidates"][3]["is_correct"] = True  # "8" for 7
    put(files / "pool.jsonl", rows)
    accuracies = {}
    for labels in ("graded", "recorded"):
        out = files / f"{labels}.json"
        assert evaluate(files, "--labels", labels, "--json", str(out)) == 0
        result = json.loads(out.read_text())
        accuracies[labels] = result["pass@1"]
        assert result["disagreements"]["candidates"] == 1
        assert result["disagreements"]["examples"][0]["answer"] == "8"
    assert accuracies == {"graded": pytest.approx(6 / 12), "recorded": pytest.approx(7 / 12)}


def test_the_same_seed_writes_the_same_file(files: Path) -> None:
    texts = []
    for run in ("one", "two"):
        out = files / f"{run}.json"
        assert evaluate(files, "--scores", str(files / "good_prm.jsonl"), "--json", str(out)) == 0
        texts.append(out.read_bytes())
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    ("broken", "options", "says"),
    [
        ({"pool.jsonl": []}, [], "pool.jsonl: the pool is empty"),
        ({"good_prm.jsonl": scores()[1:]}, [], "good_prm.jsonl: 1 of 12 candidates have no scores"),
        ({"good_prm.jsonl": [*scores(), scores()[0]]}, [], "good_prm.jsonl:13: candidate 0 of problem 'p0'"),
        ({"good_prm.jsonl": scores(float("nan"))}, [], "good_prm.jsonl:1: JSON is malformed"),
        (
            {"good_prm.jsonl": scores(1.5)},
            ["--aggregate", "product"],
            "good_prm, problem 'p0', candidate 0: the score of",
        ),
        ({}, ["--n", "1,5"], "n = 5 is above the 4 candidates"),
        ({}, ["--n", "0"], "n = 0"),
        ({}, ["--n", "1;2"], "'1;2'"),
        ({}, ["--scores", "absent.jsonl"], "absent.jsonl"),
        ({}, ["--candidates", "absent.jsonl"], "absent.jsonl"),
        ({}, ["--subsets", "1"], "subsets"),
        ({}, ["--json", "absent/out.json"], "absent/out.json"),
    ],
)
def test_bad_input_is_named_and_nothing_is_written(
    files: Path,
    capsys: pytest.CaptureFixture[str],
    broken: dict[str, list[dict[str, Any]]],
    options: list[str],
    says: str,
) -> None:
    for name, rows in broken.items():
        put(files / name, rows)
    before = sorted(files.iterdir())
    given = ["--scores", str(files / "good_prm.jsonl"), "--json", str(files / "out.json"), *options]
    assert evaluate(files, *given) == 2
    assert says in capsys.readouterr().err
    assert sorted(files.iterdir()) == before


def test_two_files_with_one_stem_are_refused(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "twin").mkdir()
    put(files / "twin/good_prm.jsonl", scores())
    assert evaluate(files, "--scores", str(files / "good_prm.jsonl"), str(files / "twin/good_prm.jsonl")) == 2
    assert "'good_prm'" in capsys.readouterr().err


def test_the_report_says_how_to_print_its_figures_again(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its command is a command, and gives the same report."""
    options = ["--scores", str(files / "good_prm.jsonl"), "--aggregate", "last", "--n", "1,2,4"]
    assert evaluate(files, *options, "--html", str(files / "html")) == 0
    assert f"the report is {files / 'html' / 'report.html'}" in capsys.readouterr().out
    report = (files / "html" / "report.html").read_text()
    shown = re.search(r"stepmark evaluate pool [^<]*", report)
    assert shown is not None
    assert main([*shlex.split(html.unescape(shown[0]))[1:], "--html", str(files / "again")]) == 0
    assert (files / "again" / "report.html").read_text() == report
