"""A stage computes what is not on record, once, whatever interrupted it before."""

import asyncio
from dataclasses import dataclass

import pytest

from stepmark.errors import BackendError
from stepmark.records import Job, Run, complete, pace
from stepmark.types import Cost, StepLabels


@dataclass(frozen=True)
class Settings:
    seed: int = 0


def label(problem, index):
    return StepLabels(problem, index, (1.0,), "test")


class Work:
    """Jobs of two records each; `broken` raises, and `calls` counts."""

    def __init__(self, broken=()):
        self.calls, self.running, self.most = [], 0, 0
        self.broken = broken

    def job(self, problem):
        async def work():
            self.calls.append(problem)
            self.running += 1
            self.most = max(self.most, self.running)
            await asyncio.sleep(0)
            self.running -= 1
            if problem in self.broken:
                raise BackendError(f"{problem} failed")
            return [label(problem, 0), label(problem, 1)]

        return Job(((problem, 0), (problem, 1)), work)

    def complete(self, path, problems, **options):
        with Run.open(path, Settings()) as run:
            jobs = [self.job(problem) for problem in problems]
            return asyncio.run(complete(run, "labels", StepLabels, jobs, title="labels", **options))


def test_records_come_in_the_order_of_the_jobs_and_are_computed_once(tmp_path):
    problems = [f"p{i}" for i in range(20)]
    first, second = Work(), Work()
    records = first.complete(tmp_path / "run", problems, at_once=3)
    assert [(r.problem_id, r.index) for r in records] == [(p, i) for p in problems for i in (0, 1)]
    assert first.most <= 3
    assert second.complete(tmp_path / "run", list(reversed(problems))) == [
        r for p in reversed(problems) for r in records if r.problem_id == p
    ]
    assert second.calls == []


def test_a_job_of_which_one_record_is_missing_is_done_again_and_only_that_one_is_appended(tmp_path):
    with Run.open(tmp_path / "run", Settings()) as run:
        run.append("labels", label("a", 0))
    work = Work()
    assert len(work.complete(tmp_path / "run", ["a", "b"])) == 4
    assert work.calls == ["a", "b"]
    with Run.open(tmp_path / "run", Settings()) as run:
        assert [(r.problem_id, r.index) for r in run.read("labels", StepLabels)] == [
            ("a", 0),
            ("a", 1),
            ("b", 0),
            ("b", 1),
        ]


def test_an_error_ends_the_stage_and_keeps_what_is_on_record(tmp_path):
    with pytest.raises(BackendError, match="p5 failed"):
        Work(broken={"p5"}).complete(tmp_path / "run", [f"p{i}" for i in range(10)], at_once=2)
    again = Work()
    assert len(again.complete(tmp_path / "run", [f"p{i}" for i in range(10)])) == 20
    assert "p0" not in again.calls
    assert "p5" in again.calls


def test_the_pace_is_of_solutions_new_tokens_and_what_the_cache_gave():
    spent = Cost(prompt=100, cached=300, generated=5000, requests=1)
    assert pace(10, spent, 4.0) == "2.5 solutions/s, 1,250 tokens/s, 75% cached"
    assert pace(1, Cost(), 0.0).endswith("0 tokens/s")
