"""Runs of `stepmark sample` and `stepmark score`, read as a candidate pool and its step scores.

A solution that was cut keeps its place among the candidates; it has no answer and no scores, so nothing chooses it.
"""

from collections.abc import Sequence
from pathlib import Path

from stepmark import problems
from stepmark.errors import InputError, ScoreError
from stepmark.formats.candidates import Candidate, Candidates
from stepmark.records import read, read_manifest
from stepmark.rewards.aggregate import Aggregation
from stepmark.types import Problem, Solution, SolutionScores


def read_solutions(run: Path, name: str = "solutions") -> list[tuple[Problem, list[Solution]]]:
    """The problems of a run that have solutions in its record file `name`, with them by index.

    Raises InputError where there are none, or a solution's problem is missing.
    """
    manifest = read_manifest(run)
    known = {problem.id: problem for problem in problems.read(run / manifest.file("problems"))}
    file = run / manifest.file(name)
    solutions: dict[str, list[Solution]] = {}
    for number, one in enumerate(read(file, Solution), 1):
        if one.problem_id not in known:
            raise InputError(
                f"a solution of problem {one.problem_id!r}, which the run does not have",
                path=file,
                line=number,
                remedy="restore the run's problems",
            )
        solutions.setdefault(one.problem_id, []).append(one)
    if not solutions:
        raise InputError("the run holds no solutions", path=run, remedy="run stepmark sample first")
    return [(known[name], sorted(them, key=lambda one: one.index)) for name, them in solutions.items()]


def read_candidates(run: Path) -> tuple[Candidates, ...]:
    """The solutions of a run as a pool. Errors as `read_solutions`."""
    return tuple(
        Candidates(problem, tuple(Candidate(s.steps, s.answer, s.cost.generated, None) for s in solutions))
        for problem, solutions in read_solutions(run)
    )


def read_aggregate(run: Path) -> Aggregation:
    """How a run's step scores are combined: as the reward model's directory or its authors say."""
    said: Aggregation = read_manifest(run).settings.get("aggregate", "last")
    return said


def read_step_scores(run: Path, pool: Sequence[Candidates]) -> tuple[tuple[tuple[float, ...] | None, ...], ...]:
    """The scores that a run holds of the pool's candidates: `[problem][candidate][step]`, None where there are none.

    Raises ScoreError: a problem or candidate that the pool does not have, a wrong number of scores, or a candidate with
    an answer that is neither scored nor masked.
    """
    file = run / read_manifest(run).file("scores")
    candidates = {(one.problem.id, i): c for one in pool for i, c in enumerate(one.candidates)}
    found: dict[tuple[str, int], tuple[float, ...] | None] = {}
    for number, row in enumerate(read(file, SolutionScores), 1):
        candidate = candidates.get((row.problem_id, row.index))
        if candidate is None or (len(candidate.steps) != len(row.scores) and not row.masked):
            raise ScoreError(
                f"the pool has no candidate {row.index} of {len(row.scores)} steps of problem {row.problem_id!r}",
                path=file,
                line=number,
                remedy="give the candidates that were scored",
            )
        found[row.problem_id, row.index] = None if row.masked else row.scores
    if missing := [key for key, one in candidates.items() if key not in found and one.answer is not None]:
        raise ScoreError(
            f"{len(missing)} candidates with an answer have no scores, the first is candidate {missing[0][1]} of "
            f"problem {missing[0][0]!r}",
            path=file,
            remedy="run the same stepmark score again: it goes on",
        )
    return tuple(tuple(found.get((one.problem.id, i)) for i in range(len(one.candidates))) for one in pool)
