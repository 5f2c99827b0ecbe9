"""PRM800K, both phases (Lightman et al. 2023, arXiv 2305.20050; openai/prm800k).

A line is one labelling session. `Row` is its schema, whole: a row that is read and encoded again is the same JSON.
As labelled solutions it is

- the path that the labeller followed, the chosen or the human-written step at each place, with the ratings of the
  chosen ones (people wrote their own steps because none was good; these have no rating). In phase 2 the solution was
  given: its steps after the first wrong one follow, without ratings;
- then, for each rated alternative to a step, the path before it, without ratings, and the alternative with its own.

So every rating stands once. 0 stays 0: how a neutral step counts is decided where labels are used. Sessions that ended
in `give_up` or `bad_problem` are marked by the finish `abort`, which no training takes, and by `finish_reason` in
`extra`, as are quality-control and screening sessions by their fields.
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, signed
from stepmark.rewards.examples import Neutral
from stepmark.types import Finish, LabelledSolution

ANSWER = "# Answer\n\n"
Rating = Literal[-1, 0, 1]


class Completion(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    rating: Rating | None
    flagged: bool | UnsetType | None = UNSET
    """the labeller was unsure; null for the given step of phase 2"""


class HumanCompletion(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    text: str
    rating: None = None
    source: str = "human"
    flagged: bool | UnsetType | None = UNSET
    corrected_rating: int | UnsetType | None = UNSET
    """in some public copies"""


class Step(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    completions: list[Completion] | None
    human_completion: HumanCompletion | None
    chosen_completion: int | None


class Question(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    problem: str
    ground_truth_answer: str | None
    ground_truth_solution: str | UnsetType | None = UNSET
    """absent in phase 1, as are the following"""
    pre_generated_steps: list[str] | UnsetType = UNSET
    pre_generated_answer: str | UnsetType | None = UNSET
    pre_generated_verifier_score: float | UnsetType | None = UNSET


class Label(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    steps: list[Step]
    total_time: int
    """milliseconds"""
    finish_reason: Literal["solution", "found_error", "bad_problem", "give_up"]


class Row(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    labeler: str
    timestamp: str
    generation: int | None
    """null in phase 1, -1 for screening"""
    is_quality_control_question: bool
    is_initial_screening_question: bool
    question: Question
    label: Label


OF_MAIN = (
    "timestamp",
    "total_time",
    "flagged",
    "human_steps",
    "ground_truth_solution",
    "pre_generated_verifier_score",
)
OF_ALL = ("labeler", "generation", "is_quality_control_question", "is_initial_screening_question", "finish_reason")
HELD = frozenset({*OF_MAIN, *OF_ALL})


def read(path: Path, lost: Lost, *, alternatives: bool = True, controls: bool = True) -> Iterator[LabelledSolution]:
    """The labelled solutions of a file. `alternatives`: those not chosen too. `controls`: quality-control and screening
    sessions too. Raises InputError, naming file, line and field."""
    build = Builder("prm800k", "human")
    for _, row in read_rows(path, Row, lost):
        if not controls and (row.is_quality_control_question or row.is_initial_screening_question):
            lost["quality-control and screening sessions, left out"] += 1
            continue
        yield from labelled(row, build, lost, alternatives=alternatives)


def labelled(row: Row, build: Builder, lost: Lost, *, alternatives: bool = True) -> Iterator[LabelledSolution]:
    """The labelled solutions of one session: the path first."""
    question, reason = row.question, row.label.finish_reason
    aborted = reason in ("give_up", "bad_problem")
    given = question.pre_generated_steps or []
    path: list[str] = []
    ratings: list[int | None] = []
    flagged: list[int] = []
    human: list[int] = []
    others: list[tuple[int, Completion]] = []
    for s, step in enumerate(row.label.steps):
        if len(path) < s:
            lost["steps after a place without a chosen step, left out"] += 1
            continue
        completions, chosen = step.completions or [], step.chosen_completion
        if chosen is None and step.human_completion is not None:
            path.append(step.human_completion.text)
            ratings.append(None)
            human.append(s)
            if step.human_completion.flagged:
                lost["flags of human-written steps, left out"] += 1
            if isinstance(step.human_completion.corrected_rating, int):
                lost["corrected ratings of human-written steps, left out"] += 1
        elif chosen is None and s < len(given):  # the wrong step that ends phase 2
            chosen = next((c for c, one in enumerate(completions) if one.text == given[s]), None)
        if chosen is not None and chosen < len(completions):
            one = completions[chosen]
            path.append(one.text)
            ratings.append(one.rating)
            if one.flagged:
                flagged.append(s)
        if len(completions) > 1 or chosen is None:
            others += [(s, one) for c, one in enumerate(completions) if c != chosen]
    whole = reason == "solution"
    rated = len(path)
    if path == given[:rated]:
        path, ratings, whole = path + given[rated:], ratings + [None] * (len(given) - rated), whole or bool(given)
    common: dict[str, Any] = {
        "labeler": row.labeler,
        "generation": row.generation,
        "is_quality_control_question": row.is_quality_control_question,
        "is_initial_screening_question": row.is_initial_screening_question,
        "finish_reason": reason,
    }
    if len(ratings) > ratings.count(None):
        extra: dict[str, Any] = common | {"timestamp": row.timestamp, "total_time": row.label.total_time}
        for name, value in (("flagged", flagged), ("human_steps", human)):
            if value:
                extra[name] = value
        for name in ("ground_truth_solution", "pre_generated_verifier_score"):
            if (value := getattr(question, name)) is not UNSET:
                extra[name] = value
        answer = question.pre_generated_answer if path == given else _answer(path[-1])
        finish: Finish = "abort" if aborted else "stop" if whole else "step"
        yield build(
            question.problem,
            path,
            ratings,
            gold=question.ground_truth_answer or "",
            answer=answer or None,
            finish=finish,
            extra=extra,
        )
    else:
        lost[f"sessions without a rated step on their path ({reason})"] += 1
    for s, one in others:
        if one.rating is None:
            lost["alternatives that nobody rated, left out"] += 1
        elif not alternatives:
            lost["rated alternatives, left out as asked"] += 1
        else:
            answer = _answer(one.text)
            yield build(
                question.problem,
                (*path[:s], one.text),
                (*(None,) * s, one.rating),
                gold=question.ground_truth_answer or "",
                answer=answer,
                finish="abort" if aborted else "step" if answer is None else "stop",
                extra=common | {"flagged": [s]} if one.flagged else common,
            )


def _answer(step: str) -> str | None:
    return step.rpartition(ANSWER)[2].strip() or None if ANSWER in step else None


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """One session for each solution, every step with one completion, which is chosen, or as people wrote it. Ratings
    stay +1, 0 and -1; values between right and wrong are left out. So a session that was read with its alternatives is
    several sessions, and says nothing of the solution that was given in phase 2."""
    put(path, (row for one in solutions for row in [row_of(one, lost)] if row))


def row_of(one: LabelledSolution, lost: Lost) -> Row | None:
    """The session of one labelled solution. What the file did not say of a session is empty: labeler, time."""
    ratings: Any = signed(one.labels)
    if ratings is None:
        lost["solutions with values between right and wrong, left out"] += 1
        return None
    extra = one.extra
    flagged, human = set(extra.get("flagged", ())), set(extra.get("human_steps", ()))
    count_fields(extra, HELD, lost)
    if one.solution.finish == "step":
        lost["solutions that go on, which the row does not say"] += 1
    return Row(
        extra.get("labeler", ""),
        extra.get("timestamp", ""),
        extra.get("generation"),
        extra.get("is_quality_control_question", False),
        extra.get("is_initial_screening_question", False),
        Question(
            one.problem.question,
            one.problem.gold or None,
            extra.get("ground_truth_solution", UNSET),
            pre_generated_verifier_score=extra.get("pre_generated_verifier_score", UNSET),
        ),
        Label(
            [
                Step([], HumanCompletion(step), None)
                if s in human
                else Step([Completion(step, rating, s in flagged)], None, 0)
                for s, (step, rating) in enumerate(zip(one.solution.steps, ratings, strict=True))
            ],
            extra.get("total_time", 0),
            extra.get("finish_reason", "found_error" if -1 in ratings else "solution"),
        ),
    )
