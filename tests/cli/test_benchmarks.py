"""A reward model from scratch, by its recipe, and the benchmark verbs that read it."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from recipes.gsm8k_baseline import Baseline
from recipes.gsm8k_baseline import main as train_baseline
from stepmark.cli.main import main
from stepmark.errors import InputError
from stepmark.evaluate import processbench as measure_processbench
from stepmark.evaluate.prmbench import untouched
from stepmark.formats import labelled, prmbench, processbench
from stepmark.formats.labelled import Lost
from stepmark.rewards import bundled
from stepmark.rewards.local import LocalReward
from stepmark.types import LabelledSolution, Prefix

QUICK = ["--resamples", "20"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`prm`, and a file of each benchmark's format."""
    folder = tmp_path_factory.mktemp("benchmarks")
    rows = [
        {
            "question": f"Ann has {n} pens and gets {n + 2} more. She gives {n} away. How many has she?",
            "answer": f"She has {n} + {n + 2} = <<{n}+{n + 2}={2 * n + 2}>>{2 * n + 2} pens.\n"
            f"Then {2 * n + 2} - {n} = <<{2 * n + 2}-{n}={n + 2}>>{n + 2} are left.\n#### {n + 2}",
        }
        for n in range(10, 40)
    ]
    put(folder / "gsm8k.jsonl", rows)
    sizes = Baseline(folder / "gsm8k.jsonl", folder / "baseline", vocabulary=300, width=32, layers=1, epochs=1)
    train_baseline(sizes)
    solutions = [
        ([f"She has {n} + 2 = {n + wrong}.", "Then 4 are left."], wrong)
        for n, wrong in [(n, 2 + n % 2) for n in range(3, 9)]
    ]
    put(
        folder / "processbench.jsonl",
        [
            {
                "id": f"x-{n}",
                "generator": "hand",
                "problem": f"Ann has {n // 2} pens. How many?",
                "steps": steps,
                "final_answer_correct": wrong == 2,
                "label": -1 if wrong == 2 else 0,
            }
            for n, (steps, wrong) in enumerate(solutions)
        ],
    )
    put(
        folder / "prmbench.jsonl",
        [
            {
                "idx": f"i{n // 2}",
                "classification": "redundency" if n % 2 else "circular",
                "original_question": "How many?",
                "original_process": ["She has 4.", "Then 4 are left."],
                "modified_question": "How many?",
                "modified_process": steps,
                "error_steps": [1, 2],
            }
            for n, (steps, _) in enumerate(solutions)
        ],
    )
    pool = {
        "problem_id": "p",
        "question": "How many pens?",
        "ground_truth": "4",
        "candidates": [{"steps": [f"She has {n}."], "answer": str(n)} for n in (3, 3, 4)],
    }
    put(folder / "pool.jsonl", [pool])
    return folder


def put(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def scores(folder: Path, solutions: list[LabelledSolution]) -> list[tuple[float, ...]]:
    """What the reward model itself says, one solution after the other."""

    async def each() -> list[tuple[float, ...]]:
        reward = LocalReward.load(folder / "baseline" / "prm")
        return [(await reward.score(Prefix(one.problem, one.solution.steps, None))).scores for one in solutions]

    return asyncio.run(each())


def said(folder: Path, verb: str, data: str, *options: str, reward: str | Path | None = None) -> dict[str, object]:
    by = str(reward or folder / "baseline" / "prm")
    words = ["evaluate", verb, "--data", str(folder / data), "--reward", by]
    assert main([*words, "--json", str(folder / "out.json"), *QUICK, *options]) == 0
    told: dict[str, object] = json.loads((folder / "out.json").read_text())
    return told


def test_the_recipe_writes_a_model_that_scores_and_nothing_over_another(folder: Path) -> None:
    assert {path.name for path in (folder / "baseline").iterdir()} == {"base", "prm"}
    with pytest.raises(InputError, match="exists already"):
        train_baseline(Baseline(folder / "gsm8k.jsonl", folder / "baseline"))


def test_processbench_measures_what_the_model_says(folder: Path) -> None:
    solutions = list(processbench.read(folder / "processbench.jsonl", Lost()))
    found = scores(folder, solutions)
    threshold = float(np.median([step for one in found for step in one]))
    told = said(folder, "processbench", "processbench.jsonl", "--threshold", repr(threshold))
    expected = measure_processbench.evaluate(solutions, found, threshold).value
    assert told["value"] == {
        "erroneous": pytest.approx(expected.erroneous),
        "correct": pytest.approx(expected.correct),
        "f1": pytest.approx(expected.f1),
    }


def test_prmbench_measures_what_the_model_says_of_the_originals_too(folder: Path) -> None:
    solutions = list(prmbench.read(folder / "prmbench.jsonl", Lost()))
    found = scores(folder, solutions)
    threshold = float(np.median([step for one in found for step in one]))
    told = said(folder, "prmbench", "prmbench.jsonl", "--threshold", repr(threshold))["overall"]
    assert isinstance(told, dict)
    share = [np.mean([step >= threshold for step in one]) for one in found]
    assert told["wrong_accuracy"]["value"] == pytest.approx(1 - np.mean(share))
    [original, *_] = scores(folder, untouched(solutions))
    kept = np.mean([step >= threshold for step in original])
    assert told["similarity"]["value"] == pytest.approx(np.mean([abs(one - kept) for one in share]))


@pytest.mark.parametrize("verb", ["processbench", "prmbench"])
def test_the_bundled_reward_model_is_known_by_its_name(folder: Path, verb: str) -> None:
    named, read = (said(folder, verb, f"{verb}.jsonl", reward=one) for one in ("bundled", bundled.PATH))
    assert (named.pop("by"), read.pop("by")) == ("scores by bundled", f"scores by {bundled.PATH}")
    assert named == read


def test_steps_has_sensitivity_and_gain_with_intervals(folder: Path) -> None:
    """One problem, whose majority is wrong: the gain is whether the best-scored candidate is the third."""
    solutions = list(processbench.read(folder / "processbench.jsonl", Lost()))
    labelled.write(folder / "labelled.jsonl", solutions, Lost())
    told = said(folder, "steps", "labelled.jsonl", "--pool", str(folder / "pool.jsonl"))
    assert isinstance(told["sensitivity"], dict)
    number = told["sensitivity"]["number"]
    fall = number["fall"]
    assert number["probes"] == 3  # the solutions whose first step is right
    assert fall["low"] <= fall["value"] <= fall["high"]
    gains = told["gain_over_majority"]
    assert isinstance(gains, list)
    assert {one["difference"] for one in gains} <= {0.0, 1.0}
    assert [one["method"] for one in gains] == ["best_of_n", "weighted_vote"]
