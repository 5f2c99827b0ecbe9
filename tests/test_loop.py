"""The whole loop on the real bundled model, small: every stage, its record, its report, and its resumption."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from stepmark.errors import RecordError
from stepmark.grading import grade
from stepmark.labels import RolloutLabels
from stepmark.loop import KINDS, Settings, loop
from stepmark.problems import quantities
from stepmark.records import read
from stepmark.report import write
from stepmark.report.loop import agreement, report, steps_of
from stepmark.types import Solution

SMALL = Settings(problems=16, solutions=4, rollouts=4, tests=8, candidates=8, epochs=1)
RECORDS = ("solutions", "rollouts", "candidates", "scores-orm", "scores-prm")


def run(out, settings=SMALL):
    said = []
    return asyncio.run(loop(out, settings, said.append)), said


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    out = tmp_path_factory.mktemp("loop") / "run"
    return out, *run(out)


def test_every_solution_is_recorded_and_every_finished_candidate_scored(done):
    _, result, said = done
    assert len(result.fresh) == 8
    assert all(len(candidates) == 8 for _, candidates in result.fresh)
    for kind in KINDS:
        for (_, candidates), row in zip(result.fresh, result.scores[kind], strict=True):
            for one, scores in zip(candidates, row, strict=True):
                assert (scores is not None) == (one.finish == "stop")
                assert scores is None or len(scores.scores) == len(one.steps)
    assert any("PRM" in line for line in said)


def test_accuracies_are_those_of_the_recorded_candidates(done):
    _, result, _ = done
    right = [[grade(problem, one.answer).correct for one in candidates] for problem, candidates in result.fresh]
    oracle = next(curve for curve in result.comparison.curves if curve.method == "oracle").points
    assert oracle[0].accuracy == pytest.approx(sum(map(sum, right)) / 64)
    assert oracle[-1].accuracy == sum(map(any, right)) / 8


def test_labels_by_rollouts_rate_up_to_the_first_step_that_leads_nowhere(done):
    _, result, _ = done
    for one in result.labelled:
        rated = [rating for rating in one.labels.ratings if rating is not None]
        assert rated
        assert 0.0 not in rated[:-1]
        assert len(rated) == len(one.solution.steps) or rated[-1] == 0.0
    problems, agrees = agreement(result.labelled, 4)
    assert len(problems) == len(agrees) > 0


def test_steps_are_compared_up_to_the_first_wrong_one(done):
    _, result, _ = done
    scores, right, problems = steps_of(result.fresh, result.scores["prm"])
    wrong = sum(
        scored is not None and min(quantities.rate(problem, one.steps)) < 0
        for (problem, candidates), row in zip(result.fresh, result.scores["prm"], strict=True)
        for one, scored in zip(candidates, row, strict=True)
    )
    assert right.count(False) == wrong
    assert len(scores) == len(right) == len(problems)


def test_the_report_has_every_part(done):
    out, result, _ = done
    page = write(report(result, SMALL, "test"), out / "report")
    html = page.read_text()
    for part in ("PRM", "ORM", "majority", "agreement", "sensitivity"):
        assert part in html
    assert {path.suffix for path in (out / "report" / "pictures").iterdir()} == {".svg", ".png"}


def test_a_finished_loop_computes_nothing_again(done):
    out, result, _ = done
    before = {name: (out / f"{name}.jsonl").stat().st_mtime_ns for name in RECORDS}
    again, _ = run(out)
    assert again.comparison == result.comparison
    assert again.trained == {}
    assert before == {name: (out / f"{name}.jsonl").stat().st_mtime_ns for name in RECORDS}


def test_a_run_of_other_settings_is_refused(done):
    with pytest.raises(RecordError, match="rollouts: 4 in the run, 5 now"):
        run(done[0], replace(SMALL, rollouts=5))


def test_a_killed_loop_goes_on_to_the_same_records(done, tmp_path):
    """Killed twice on its way: sampling depends on seeds alone, so the records are the same."""
    script = (
        "import asyncio; from pathlib import Path; from stepmark.loop import Settings, loop\n"
        f"asyncio.run(loop(Path({str(tmp_path / 'run')!r}), {SMALL!r}, lambda line: print(line, flush=True)))"
    )
    for after in ("drew", "rated"):
        process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=os.environ)
        assert process.stdout is not None
        for line in process.stdout:
            if line.startswith(("drew", "rollout-hard " + after)):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    run(tmp_path / "run")
    for name, kind in (("solutions", Solution), ("rollouts", RolloutLabels), ("candidates", Solution)):
        killed, whole = (
            {what(one) for one in read(path / f"{name}.jsonl", kind)} for path in (tmp_path / "run", done[0])
        )
        assert killed == whole


def what(record):
    """A record without what the cache decides: which prompt tokens were computed depends on what ran before."""
    cost = record.cost
    return replace(record, cost=replace(cost, prompt=cost.prompt + cost.cached, cached=0))
