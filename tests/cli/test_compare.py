"""`stepmark compare`, from runs on disk to the table, the figures and the page."""

import json
import re

import pytest

from stepmark.cli import main
from stepmark.policies import bundled
from stepmark.policies.base import ScriptedPolicy
from stepmark.problems import quantities
from stepmark.records import write

PROBLEMS = list(quantities.generate("test", 6, levels=(1, 2)))


@pytest.fixture
def runs(tmp_path, monkeypatch):
    """A beam search that gets half of the problems right, and a majority vote that gets none."""
    gold = {one.question: one.gold if number % 2 else "0" for number, one in enumerate(PROBLEMS)}
    right = ScriptedPolicy(
        lambda prefix, index, seed: "" if prefix.steps else f"Answer: {gold[prefix.problem.question]}\n"
    )
    wrong = ScriptedPolicy.replies(["Answer: -1\n"])
    right.close = wrong.close = lambda: None
    write(tmp_path / "problems.jsonl", PROBLEMS)
    write(tmp_path / "fewer.jsonl", PROBLEMS[:5])
    for policy, name, file, words in (
        (right, "beam", "problems", ["--strategy", "beam", "--reward", "oracle"]),
        (wrong, "majority", "problems", ["--strategy", "parallel", "--choose", "majority", "--n", "2"]),
        (wrong, "fewer", "fewer", ["--strategy", "parallel", "--choose", "majority", "--n", "2"]),
    ):
        monkeypatch.setattr(bundled, "load", lambda policy=policy, **_: policy)
        out = ["--problems", str(tmp_path / f"{file}.jsonl"), "--out", str(tmp_path / name)]
        assert main(["search", *out, *words]) == 0
    return tmp_path


def test_the_table_the_figures_and_the_page_say_the_same(runs, capsys):
    out = ["--json", str(runs / "figures.json"), "--html", str(runs / "report"), "--trees", "1"]
    assert main(["compare", str(runs / "beam"), str(runs / "majority"), *out]) == 0
    told = capsys.readouterr().out
    assert re.search(r"beam n=16 +1 +50\.00 .* \+50\.00 ", told)
    assert re.search(r"majority vote n=2 +1 +0\.00 ", told)
    figures = json.loads((runs / "figures.json").read_text())
    entries = {one["name"]: one for one in figures["entries"]}
    assert entries["beam n=16"]["accuracy"] == 0.5
    assert [one["level"] for one in entries["beam n=16"]["levels"]] == [1, 2]
    assert figures["baseline"] == "majority vote n=2"
    page = (runs / "report" / "report.html").read_text()
    values = [
        float(value)
        for value in re.findall(r'<table class="entries">.*?</table>', page, re.S)
        for value in re.findall(r'data value="([^"]+)"', value)
    ]
    assert entries["beam n=16"]["flops"] in values
    assert figures["gaps"][0]["difference"] in values
    trees = re.findall(r'<svg class="picture".*?</svg>', page, re.S)
    assert len(trees) == 2
    assert all("Answer: " in tree for tree in trees)
    assert "://" not in "".join(trees)


def test_records_are_read_as_another_choice_and_against_a_larger_policy(runs, capsys):
    """The same model is one times as large, so that it may write as much as itself."""
    assert main(["compare", str(runs / "beam"), "--choose", "majority", "--larger", str(runs / "beam")]) == 0
    told = capsys.readouterr().out
    assert re.search(r"beam choose=majority n=16 +1 +50\.00", told)
    assert "a policy 1 times as large, at equal FLOPs" in told
    assert len(re.findall(r"50\.00 +50\.00 +\+0\.00", told)) == 3
    assert main(["compare", str(runs / "beam"), "--aggregate", "min"]) == 2
    assert "scores decide which steps are continued" in capsys.readouterr().err


def test_runs_over_other_problems_are_refused(runs, capsys):
    assert main(["compare", str(runs / "beam"), str(runs / "fewer")]) == 2
    assert "compare runs of the same problems" in capsys.readouterr().err


def test_a_directory_that_is_no_run_is_named(tmp_path, capsys):
    assert main(["compare", str(tmp_path)]) == 2
    assert str(tmp_path) in capsys.readouterr().err
