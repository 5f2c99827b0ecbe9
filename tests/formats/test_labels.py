"""Files of step labels: real rows of each format, read and written back, and every rating counted."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from stepmark.cli import main
from stepmark.errors import InputError
from stepmark.formats import labelled, math_shepherd, omegaprm, prm800k, prmbench, processbench, records, stepwise
from stepmark.formats.convert import FORMATS, convert
from stepmark.formats.labelled import Lost
from stepmark.records import json_lines
from stepmark.rewards.assemble import assemble
from stepmark.types import LabelledSolution

DATA = Path(os.environ.get("STEPMARK_DATA", Path(__file__).parents[2] / "../shared/data"))
SAMPLES = {
    "prm800k": "format_samples/prm800k.jsonl.gz",
    "math_shepherd": "format_samples/math_shepherd.jsonl.gz",
    "omegaprm_tree": "format_samples/omegaprm_tree.jsonl.gz",
    "omegaprm_flat": "format_samples/omegaprm_flat.jsonl.gz",
    "processbench": "processbench/gsm8k.jsonl.gz",
    "prmbench": "prmbench/test_p1.jsonl.gz",
    "candidates": "bon_pool_gsm8k/candidates.jsonl.gz",
}
real = pytest.mark.skipif(not DATA.exists(), reason=f"no published data at {DATA}")


def rows(path: Path) -> list[Any]:
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line) for line in text.splitlines()]


def sample(name: str) -> tuple[list[LabelledSolution], Lost]:
    lost = Lost()
    return list(FORMATS[name][0](DATA / SAMPLES[name], lost)), lost


@real
@pytest.mark.parametrize("name", ["math_shepherd", "omegaprm_tree", "processbench", "prmbench"])
def test_a_real_file_is_written_back_as_it_was(tmp_path: Path, name: str) -> None:
    """Nothing is lost in the noun, else the rows could not be the same again."""
    out = tmp_path / "out.jsonl.gz"
    convert(name, name, DATA / SAMPLES[name], out)  # type: ignore[arg-type]
    assert rows(out) == rows(DATA / SAMPLES[name])


@real
def test_a_pool_keeps_its_candidates(tmp_path: Path) -> None:
    convert("candidates", "candidates", DATA / SAMPLES["candidates"], tmp_path / "out.jsonl")
    for before, after in zip(rows(DATA / SAMPLES["candidates"]), rows(tmp_path / "out.jsonl"), strict=True):
        del before["temperature"]
        assert before == after


@real
@pytest.mark.parametrize("name", SAMPLES)
def test_our_own_files_lose_no_label(tmp_path: Path, name: str) -> None:
    solutions, lost = sample(name)
    labelled.write(tmp_path / "one.jsonl", solutions, lost)
    assert list(labelled.read(tmp_path / "one.jsonl", lost)) == solutions
    records.write(tmp_path / "three", solutions, lost)
    again = list(records.read(tmp_path / "three", lost))
    assert [(one.problem.id, one.solution, one.labels) for one in again] == [
        (one.problem.id, one.solution, one.labels) for one in solutions
    ]
    keys = [(one.solution.problem_id, one.solution.index) for one in solutions]
    assert len(set(keys)) == len(keys)


@real
def test_the_schema_of_prm800k_is_whole() -> None:
    path = DATA / SAMPLES["prm800k"]
    again = [json.loads(msgspec.json.encode(row)) for _, row in json_lines(path, prm800k.Row)]
    assert again == rows(path)


@real
def test_every_rating_of_prm800k_stands_in_one_solution() -> None:
    solutions, lost = sample("prm800k")
    given: list[tuple[str, int]] = []
    unrated = 0
    for row in rows(DATA / SAMPLES["prm800k"]):
        for step in row["label"]["steps"]:
            for one in step["completions"] or []:
                given += [(one["text"], one["rating"])] if one["rating"] is not None else []
                unrated += one["rating"] is None
    found = [
        (step, rating)
        for one in solutions
        for step, rating in zip(one.solution.steps, one.labels.ratings, strict=True)
        if rating is not None
    ]
    assert sorted(found) == sorted(given)
    assert lost == {"alternatives that nobody rated, left out": unrated}


@real
def test_prm800k_written_again_keeps_ratings_flags_and_who_wrote_a_step(tmp_path: Path) -> None:
    solutions, lost = sample("prm800k")
    assert any("human_steps" in one.extra for one in solutions)
    before = set(lost)
    prm800k.write(tmp_path / "again.jsonl", solutions, lost)
    assert not {what for what in set(lost) - before if "flagged" in what or "human" in what}
    again = list(prm800k.read(tmp_path / "again.jsonl", Lost()))
    rated = [one for one in solutions if set(one.labels.ratings) != {None}]
    for one, other in zip(rated, again, strict=True):
        assert (one.solution.steps, one.labels.ratings) == (other.solution.steps, other.labels.ratings)
        assert [one.extra.get(name) for name in ("human_steps", "flagged", "finish_reason")] == [
            other.extra.get(name) for name in ("human_steps", "flagged", "finish_reason")
        ]


@real
def test_prm800k_sessions_keep_their_kind() -> None:
    solutions, _ = sample("prm800k")
    assert {one.extra["finish_reason"] for one in solutions} == {"solution", "found_error", "give_up"}
    for one in solutions:
        assert (one.solution.finish == "abort") == (one.extra["finish_reason"] == "give_up")
    assert any(one.extra["is_initial_screening_question"] for one in solutions)
    lost = Lost()
    fewer = list(prm800k.read(DATA / SAMPLES["prm800k"], lost, controls=False, alternatives=False))
    assert not any(one.extra["is_initial_screening_question"] for one in fewer)
    assert lost["quality-control and screening sessions, left out"] == 1
    assert lost["rated alternatives, left out as asked"] > 0


def session(steps: list[Any], reason: str = "solution", **question: Any) -> dict[str, Any]:
    return {
        "labeler": "a",
        "timestamp": "t",
        "generation": None,
        "is_quality_control_question": False,
        "is_initial_screening_question": False,
        "question": {"problem": "1 + 1?", "ground_truth_answer": "2", **question},
        "label": {"steps": steps, "total_time": 1, "finish_reason": reason},
    }


def place(*completions: tuple[str, int | None], human: str | None = None, chosen: int | None = None) -> dict[str, Any]:
    return {
        "completions": [{"text": text, "rating": rating, "flagged": False} for text, rating in completions],
        "human_completion": human and {"text": human, "rating": None, "source": "human", "flagged": False},
        "chosen_completion": chosen,
    }


def put(path: Path, *lines: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_alternatives_are_prefixes_of_their_own(tmp_path: Path) -> None:
    """By hand: the path has what was chosen or written by the labeller, and no label is visible twice."""
    steps = [place(("a", 1), ("b", -1), chosen=0), place(("c", -1), human="h"), place(("d", 0), ("e", 1), chosen=1)]
    solutions = list(prm800k.read(put(tmp_path / "x.jsonl", session(steps)), Lost()))
    assert [(one.solution.steps, one.labels.ratings, one.solution.finish) for one in solutions] == [
        (("a", "h", "e"), (1, None, 1), "stop"),
        (("b",), (-1,), "step"),
        (("a", "c"), (None, -1), "step"),
        (("a", "h", "d"), (None, None, 0), "step"),
    ]


def test_a_given_solution_goes_on_after_its_first_error(tmp_path: Path) -> None:
    row = session(
        [place(("a", 1), chosen=0), place(("b", -1), ("B", 1))],
        "found_error",
        pre_generated_steps=["a", "b", "c"],
        pre_generated_answer="3",
    )
    whole, other = prm800k.read(put(tmp_path / "x.jsonl", row), Lost())
    assert (whole.solution.steps, whole.labels.ratings) == (("a", "b", "c"), (1, -1, None))
    assert (whole.solution.finish, whole.solution.answer) == ("stop", "3")
    assert (other.solution.steps, other.labels.ratings) == (("a", "B"), (None, 1))


def test_neutral_needs_a_word_where_the_target_has_none(tmp_path: Path) -> None:
    path = put(tmp_path / "x.jsonl", session([place(("a", 1), chosen=0), place(("b", 0), chosen=0)]))
    out = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="--neutral"):
        convert("prm800k", "stepwise", path, out)
    assert not out.exists()
    labels = {}
    for neutral in ("right", "wrong", "unrated"):
        done = convert("prm800k", "stepwise", path, out, neutral=neutral)  # type: ignore[arg-type]
        labels[neutral] = rows(out)[0]["labels"]
        assert done.lost[f"neutral ratings, written as {neutral}"] == 1
    assert labels == {"right": [True, True], "wrong": [True, False], "unrated": [True]}


def test_values_are_never_cut_to_booleans(tmp_path: Path) -> None:
    lines = [
        {"prompt": "q", "completions": ["a", "b"], "labels": [0.25, 1.0]},
        {"prompt": "q", "completions": ["a", "b"], "labels": [True, False]},
    ]
    path = put(tmp_path / "x.jsonl", *lines)
    convert("stepwise", "stepwise", path, tmp_path / "out.jsonl")
    assert rows(tmp_path / "out.jsonl") == lines
    done = convert("stepwise", "math_shepherd", path, tmp_path / "ms.jsonl")
    assert done.lost["solutions with values between right and wrong, left out"] == 1
    assert [row["label"] for row in rows(tmp_path / "ms.jsonl")] == ["q Step 1: a +\nStep 2: b -"]


def test_unrated_steps_become_the_prompt_of_rated_ones(tmp_path: Path) -> None:
    steps = [place(("a", 1), chosen=0), place(("c", -1), human="h"), place(("e", 1), chosen=0)]
    convert("prm800k", "stepwise", put(tmp_path / "x.jsonl", session(steps)), tmp_path / "out.jsonl")
    assert rows(tmp_path / "out.jsonl") == [
        {"prompt": "1 + 1?", "completions": ["a"], "labels": [True]},
        {"prompt": "1 + 1?\na\nh\n", "completions": ["e"], "labels": [True]},
        {"prompt": "1 + 1?\na\n", "completions": ["c"], "labels": [False]},
    ]


def test_math_shepherd_marks_only_rated_steps(tmp_path: Path) -> None:
    row = {"input": "q? Step 1: a\nand more ки\nStep 2: b\nStep 3: c ки", "task": ""}
    row["label"] = "q? Step 1: a\nand more +\nStep 2: b\nStep 3: c -"
    [one] = math_shepherd.read(put(tmp_path / "x.jsonl", row), Lost())
    assert (one.solution.steps, one.labels.ratings) == (("a\nand more", "b", "c"), (1, None, 0))
    math_shepherd.write(tmp_path / "out.jsonl", [one], Lost())
    assert rows(tmp_path / "out.jsonl") == [row]


def test_error_steps_past_the_end_are_reported_and_kept(tmp_path: Path) -> None:
    row = {
        "idx": "i",
        "classification": "circular",
        "modified_question": "q",
        "modified_process": ["a", "b"],
        "error_steps": [2, 3],
    }
    lost = Lost()
    [one] = prmbench.read(put(tmp_path / "x.jsonl", row), lost)
    assert one.labels.ratings == (1, -1)
    assert lost == {"numbers of error steps past the last step, not used": 1}
    prmbench.write(tmp_path / "out.jsonl", [one], lost)
    assert rows(tmp_path / "out.jsonl") == [row]


@pytest.mark.parametrize(
    ("read", "row", "says"),
    [
        (stepwise.read, {"prompt": "q", "completions": ["a"], "labels": []}, "1 completions and 0 labels"),
        (stepwise.read, {"prompt": "q", "completions": ["a"], "labels": [-1]}, "the label -1"),
        (stepwise.read, {"prompt": "q", "completions": ["a", "b"], "labels": [True, 0.5]}, "booleans among"),
        (stepwise.read, {"prompt": "q", "completions": "a", "labels": [True]}, r"\$\.completions"),
        (math_shepherd.read, {"input": "q Step 1: a ки", "label": "q Step 1: b +"}, "field label"),
        (math_shepherd.read, {"input": "q Step 1: a ки", "label": "q Step 1: a ки"}, "field label"),
        (math_shepherd.read, {"input": "q a ки", "label": "q a +"}, "field input"),
        (prm800k.read, session([place(("a", 2), chosen=0)]), r"at `\$\.label\.steps\[0\]\.completions\[0\]\.rating"),
        (
            processbench.read,
            {"id": "", "generator": "", "problem": "", "steps": ["a"], "final_answer_correct": True, "label": 1},
            "the label 1",
        ),
        (
            omegaprm.read_flat,
            {"question": "q", "final_answer": "", "reasoning_steps": [{"solution_prefix": "x", "mc_value": 1}]},
            "begin with the question",
        ),
        (
            omegaprm.read_tree,
            {
                "question": "q",
                "final_answer": "",
                "reasoning_steps": {
                    "text": "q",
                    "mc_value": 1,
                    "children": [{"text": "a", "mc_value": 2, "children": []}],
                },
            },
            "mc_value is 2",
        ),
    ],
)
def test_a_broken_line_names_file_line_and_field(tmp_path: Path, read: Any, row: dict[str, Any], says: str) -> None:
    path = put(tmp_path / "x.jsonl", row)
    with pytest.raises(InputError, match=says) as caught:
        list(read(path, Lost()))
    assert (caught.value.path, caught.value.line) == (path, 1)


def test_a_failure_leaves_the_target_as_it_was(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = session([place(("a", 1), chosen=0)])
    path = put(tmp_path / "x.jsonl", good, {**good, "labeler": 3})
    (tmp_path / "out.jsonl").write_text("before")
    assert main(["convert", str(path), str(tmp_path / "out.jsonl"), "--from", "prm800k", "--to", "labelled"]) == 2
    assert "x.jsonl:2: Expected `str`" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == "before"
    assert main(["convert", str(path), str(tmp_path / "none"), "--from", "stepwise", "--to", "labelled"]) == 2
    assert {file.name for file in tmp_path.iterdir()} == {"x.jsonl", "out.jsonl"}


def test_what_the_target_does_not_hold_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path / "x.jsonl", session([place(("a", 1), ("b", None), chosen=0)]))
    out = str(tmp_path / "out.jsonl")
    assert main(["convert", str(path), out, "--from", "prm800k", "--to", "processbench"]) == 0
    told = capsys.readouterr().out
    assert "1 labelled solutions with 1 ratings" in told
    assert "1 alternatives that nobody rated, left out" in told
    assert "1 field labeler, not carried" in told


def test_labelled_prefixes_train_a_prm_and_no_orm(tmp_path: Path) -> None:
    """A prefix has whole steps and no outcome; a session that was given up trains neither."""
    good = session([place(("a", 1), ("b", -1), chosen=0)])
    given_up = session([place(("a", 1), chosen=0)], "give_up")
    solutions = list(prm800k.read(put(tmp_path / "x.jsonl", good, given_up), Lost()))
    parts = [[one.problem for one in solutions], [one.solution for one in solutions]]
    prm = assemble("prm", *parts, [one.labels for one in solutions])
    assert [example.targets for example in prm.examples] == [(1.0,), (0.0,)]
    assert prm.unfinished == 1
    assert assemble("orm", *parts).unfinished == 2


def test_an_unknown_field_is_counted_and_never_vanishes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """At any depth and in any number of rows; what the format knows is read as if the others were not there."""
    plain = session([place(("a", 1), ("b", -1), chosen=0), place(("c", 1), chosen=0)])
    marked = json.loads(json.dumps(plain))
    marked["split"] = "train"
    marked["label"]["steps"][0]["completions"][1]["confidence"] = marked["label"]["steps"][1]["seen at `$.x`"] = 0.5
    lost = Lost()
    solutions = list(prm800k.read(put(tmp_path / "x.jsonl", marked, plain, marked), lost))
    assert solutions == list(prm800k.read(put(tmp_path / "y.jsonl", plain, plain, plain), Lost()))
    assert lost == {
        "field split, which the format does not know, left out": 2,
        "field label.steps[].completions[].confidence, which the format does not know, left out": 2,
        "field label.steps[].seen at `$.x`, which the format does not know, left out": 2,
    }
    assert (
        main(["convert", str(tmp_path / "x.jsonl"), str(tmp_path / "o"), "--from", "prm800k", "--to", "labelled"]) == 0
    )
    assert "2 field split, which the format does not know, left out" in capsys.readouterr().out


def test_an_unknown_field_does_not_hide_a_broken_one(tmp_path: Path) -> None:
    row = {"note": 1, "prompt": "q", "completions": "a", "labels": [True]}
    with pytest.raises(InputError, match=r"x\.jsonl:1: .*\$\.completions"):
        list(stepwise.read(put(tmp_path / "x.jsonl", row), Lost()))
