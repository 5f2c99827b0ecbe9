"""Candidate pools and step scores, as published with StrictPRMBench (CC-BY-4.0): JSON lines, plain or gzipped.

A pool has one line per problem, `{"problem_id", "question", "ground_truth", "candidates": [{"steps", "answer",
"is_correct", "num_tokens"}]}`; a scores file one line per candidate, `{"problem_id", "candidate_index",
"step_scores"}`, in any order, the index counting from 0. Other fields are ignored. `answer` may be null; `is_correct`
and `num_tokens` may be missing.

As labelled solutions, candidates have no ratings. The file does not say how sampling ended: one with an answer counts
as finished, one without as given up.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec

from stepmark.errors import InputError, ScoreError
from stepmark.formats.labelled import UNRATED, Lost, count_fields, put, read_rows
from stepmark.records import json_lines
from stepmark.rewards.examples import Neutral
from stepmark.types import Cost, Finish, LabelledSolution, Problem, Solution, StepLabels


@dataclass(frozen=True, slots=True)
class Candidate:
    """One solution of a pool. Not a `Solution`: the file does not say how sampling ended."""

    steps: tuple[str, ...]
    answer: str | None
    tokens: int | None
    """tokens generated; None: not recorded"""
    recorded: bool | None
    """what the file says of the answer; None: nothing"""


@dataclass(frozen=True, slots=True)
class Candidates:
    """A problem and its candidates, in the file's order."""

    problem: Problem
    candidates: tuple[Candidate, ...]


class _Candidate(msgspec.Struct, forbid_unknown_fields=True):
    steps: list[str]
    answer: str | None
    is_correct: bool | None = None
    num_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None


class _Problem(msgspec.Struct, forbid_unknown_fields=True):
    problem_id: str
    question: str
    candidates: list[_Candidate]
    ground_truth: str | None = None


class _StepScores(msgspec.Struct):
    problem_id: str
    candidate_index: int
    step_scores: list[float | None]


def read_candidates(path: Path) -> tuple[Candidates, ...]:
    """The pool in a file, in its order. Problems may have different numbers of candidates.

    Raises InputError, naming file and line: a missing or malformed file, an empty pool, a repeated problem, a problem
    without gold answer or without candidates, a candidate without steps.
    """
    return tuple(_problems(path, Lost()))


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """The candidates as labelled solutions, one problem at a time. Errors as `read_candidates`."""
    for one in _problems(path, lost):
        yield from as_labelled(one)


def as_labelled(one: Candidates) -> Iterator[LabelledSolution]:
    """The candidates of a problem, none of whose steps is rated."""
    for index, candidate in enumerate(one.candidates):
        extra = {} if candidate.recorded is None else {"is_correct": candidate.recorded}
        finish: Finish = "abort" if candidate.answer is None else "stop"
        cost = Cost(generated=candidate.tokens or 0)
        yield LabelledSolution(
            one.problem,
            Solution(one.problem.id, index, candidate.steps, candidate.answer, finish, cost=cost),
            StepLabels(one.problem.id, index, (None,) * len(candidate.steps), UNRATED),
            extra,
        )


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """The solutions of each problem as its candidates, in their order; they are held in memory, since a pool has each
    problem once. First steps alone, and solutions of a problem without gold answer, are left out and counted."""
    pool: dict[str, _Problem] = {}
    for one in solutions:
        problem, solution = one.problem, one.solution
        if solution.finish == "step" or not problem.gold:
            lost["first steps alone or solutions without a gold answer, left out"] += 1
            continue
        if rated := sum(rating is not None for rating in one.labels.ratings):
            lost["ratings, not carried"] += rated
        count_fields(one.extra, frozenset({"is_correct"}), lost)
        row = pool.setdefault(problem.id, _Problem(problem.id, problem.question, [], problem.gold))
        tokens = solution.cost.generated or None
        row.candidates.append(_Candidate(list(solution.steps), solution.answer, one.extra.get("is_correct"), tokens))
    put(path, pool.values())


def _problems(path: Path, lost: Lost) -> Iterator[Candidates]:
    seen: set[str] = set()
    for line, row in read_rows(path, _Problem, lost):
        if row.problem_id in seen:
            raise InputError(
                f"problem {row.problem_id!r} again", path=path, line=line, remedy="keep one line of the two"
            )
        if row.ground_truth is None or not row.ground_truth.strip():
            raise InputError(
                f"problem {row.problem_id!r} has no gold answer",
                path=path,
                line=line,
                remedy="fill ground_truth, or leave the problem out",
            )
        if not row.candidates:
            raise InputError(
                f"problem {row.problem_id!r} has no candidates", path=path, line=line, remedy="leave the problem out"
            )
        for index, candidate in enumerate(row.candidates):
            if not candidate.steps:
                raise InputError(
                    f"candidate {index} of problem {row.problem_id!r} has no steps",
                    path=path,
                    line=line,
                    remedy="give its text as at least one step",
                )
        seen.add(row.problem_id)
        yield Candidates(
            Problem(row.problem_id, row.question, row.ground_truth, source=path.name.partition(".")[0]),
            tuple(Candidate(tuple(c.steps), c.answer, c.num_tokens, c.is_correct) for c in row.candidates),
        )
    if not seen:
        raise InputError("the pool is empty", path=path, remedy="give at least one problem with candidates")


def read_step_scores(path: Path, pool: Sequence[Candidates]) -> tuple[tuple[tuple[float, ...], ...], ...]:
    """The step scores of every candidate of the pool: `[problem][candidate][step]`, in the pool's order.

    Every candidate must have as many finite scores as it has steps; nothing is padded, cut or filled in. Raises,
    naming file and line, InputError for a missing or malformed file, and ScoreError for a problem or candidate that the
    pool does not have, one that is scored twice or not at all, a wrong number of scores, and a score that is null.
    """
    steps = {(one.problem.id, i): len(c.steps) for one in pool for i, c in enumerate(one.candidates)}
    problems = {one.problem.id: len(one.candidates) for one in pool}
    found: dict[tuple[str, int], tuple[float, ...]] = {}
    for line, row in json_lines(path, _StepScores):
        candidate = (row.problem_id, row.candidate_index)
        name = f"candidate {row.candidate_index} of problem {row.problem_id!r}"
        if row.problem_id not in problems:
            raise ScoreError(
                f"the pool has no problem {row.problem_id!r}",
                path=path,
                line=line,
                remedy="give the candidates that were scored",
            )
        if candidate not in steps:
            raise ScoreError(
                f"problem {row.problem_id!r} has {problems[row.problem_id]} candidates, counted from 0: none has index "
                f"{row.candidate_index}",
                path=path,
                line=line,
                remedy="give the candidates that were scored",
            )
        if candidate in found:
            raise ScoreError(f"{name} is scored again", path=path, line=line, remedy="keep one line of the two")
        if len(row.step_scores) != steps[candidate]:
            raise ScoreError(
                f"{name} has {steps[candidate]} steps but {len(row.step_scores)} scores",
                path=path,
                line=line,
                remedy="score it again, one score per step",
            )
        for step, score in enumerate(row.step_scores):
            if score is None:
                raise ScoreError(
                    f"step {step} of {name} has the score null",
                    path=path,
                    line=line,
                    remedy="score it again; every step needs a finite number",
                )
        found[candidate] = tuple(score for score in row.step_scores if score is not None)
    if missing := [candidate for candidate in steps if candidate not in found]:
        problem, index = missing[0]
        raise ScoreError(
            f"{len(missing)} of {len(steps)} candidates have no scores, the first is candidate {index} of problem "
            f"{problem!r}",
            path=path,
            remedy="score them, or take them out of the pool",
        )
    return tuple(tuple(found[one.problem.id, i] for i in range(len(one.candidates))) for one in pool)
