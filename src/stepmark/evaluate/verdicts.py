"""The verdicts on a candidate pool: our grader's, those recorded in the file, and where the two differ."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from stepmark.errors import InputError
from stepmark.evaluate.pool import Graded
from stepmark.formats.candidates import Candidates
from stepmark.grading import classes, grade
from stepmark.types import Verdict

Labels = Literal["graded", "recorded"]


@dataclass(frozen=True, slots=True)
class Disagreement:
    """An answer of a problem that our grader and the pool's labels judge differently; `candidates` give it. An
    ungraded answer is none."""

    problem_id: str
    gold: str
    answer: str | None
    candidates: int
    recorded: bool
    graded: bool
    reason: str
    """our grader's"""


@dataclass(frozen=True, slots=True)
class PoolVerdicts:
    problems: tuple[Graded, ...]
    """graded as `labels` asked"""
    ungraded: int
    """candidates without a verdict from our grader"""
    recorded: int
    """candidates with a recorded label"""
    disagreements: tuple[Disagreement, ...]


def judge(pool: Sequence[Candidates], labels: Labels) -> PoolVerdicts:
    """Grades every candidate, and takes the verdicts (`graded`) or the pool's own labels (`recorded`) as the truth.
    Either way, answers vote in our grader's classes. Raises InputError where a recorded label is wanted and missing."""
    problems: list[Graded] = []
    disagreements: list[Disagreement] = []
    ungraded = recorded = 0
    for one in pool:
        verdicts: dict[str | None, Verdict] = {
            answer: grade(one.problem, answer) for answer in dict.fromkeys(c.answer for c in one.candidates)
        }
        ours = [verdicts[c.answer] for c in one.candidates]
        truth = [None if verdict.value == "ungraded" else verdict.correct for verdict in ours]
        ungraded += truth.count(None)
        recorded += sum(c.recorded is not None for c in one.candidates)
        differing = Counter(
            (c.answer, c.recorded)
            for c, graded in zip(one.candidates, truth, strict=True)
            if graded is not None and c.recorded is not None and graded != c.recorded
        )
        disagreements += [
            Disagreement(
                one.problem.id,
                one.problem.gold,
                answer,
                count,
                label,
                verdicts[answer].correct,
                verdicts[answer].reason,
            )
            for (answer, label), count in differing.items()
        ]
        if labels == "recorded":
            truth = [c.recorded for c in one.candidates]
            if None in truth:
                raise InputError(
                    f"candidate {truth.index(None)} of problem {one.problem.id!r} has no is_correct",
                    remedy="fill it, or let the grader decide (--labels graded)",
                )
        tokens = tuple(c.tokens for c in one.candidates if c.tokens is not None)
        problems.append(
            Graded(
                one.problem.id,
                tuple(truth),
                tuple(classes([c.answer for c in one.candidates])),
                tokens if len(tokens) == len(one.candidates) else None,
            )
        )
    return PoolVerdicts(tuple(problems), ungraded, recorded, tuple(disagreements))
