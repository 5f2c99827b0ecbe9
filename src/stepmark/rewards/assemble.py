"""Problems, solutions and labels, as they are recorded -> examples to train on."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from stepmark.errors import InputError
from stepmark.grading import grade
from stepmark.rewards.examples import Example, Kind, Neutral, from_signed
from stepmark.types import Problem, Solution, StepLabels

SIGNED = frozenset({"oracle", "human", "injected"})
"""sources whose ratings are +1, 0, -1; `injected`: errors were put into a right solution"""
HARD = frozenset({"rollout-hard", "hard"})
"""sources whose ratings are 0 or 1; `hard`: the file does not say who rated"""
VALUES = HARD | {"rollout-soft", "soft"}
"""sources whose ratings are in [0, 1]"""


@dataclass(frozen=True, slots=True)
class Assembled:
    examples: tuple[Example, ...]
    unfinished: int
    """solutions left out because they were cut, where their last step may be torn, or given up; for an ORM also those
    of which only the first steps are given (finish `step`), which have no outcome"""
    unlabelled: int
    """solutions left out because no step is rated (PRM), or the grader cannot judge the answer (ORM)"""


def assemble(
    kind: Kind,
    problems: Iterable[Problem],
    solutions: Iterable[Solution],
    labels: Iterable[StepLabels] = (),
    *,
    neutral: Neutral | Literal["class"] = "right",
) -> Assembled:
    """Examples with their outcome, from the grader, and for a PRM the targets of their steps, from `labels`.

    Raises InputError: a solution of an unknown problem, a second one of the same number, labels of an unknown solution,
    a second rating of a solution, labels that do not fit the steps or whose source is unknown.
    """
    problem_of = {problem.id: problem for problem in problems}
    by_key: dict[tuple[str, int], Solution] = {}
    for solution in solutions:
        key = (solution.problem_id, solution.index)
        if key in by_key:
            name = f"solution {solution.index} of problem {solution.problem_id!r}"
            raise InputError(f"{name} is given twice", remedy="number the solutions of a problem from 0, each once")
        by_key[key] = solution
    targets: dict[tuple[str, int], tuple[float | None, ...]] = {}
    for label in labels:
        key = (label.problem_id, label.index)
        name = f"solution {label.index} of problem {label.problem_id!r}"
        if key not in by_key or key in targets:
            why = "is rated twice" if key in targets else "is rated but not given"
            raise InputError(f"{name} {why}", remedy="give the solutions, and one rating of each")
        if len(label.ratings) != len(by_key[key].steps):
            count = f"{name} has {len(by_key[key].steps)} steps and {len(label.ratings)} ratings"
            raise InputError(count, remedy="give one rating per step")
        targets[key] = from_labels(label, neutral=neutral)
    examples = []
    unfinished = unlabelled = 0
    for key, solution in by_key.items():
        if solution.problem_id not in problem_of:
            raise InputError(f"problem {solution.problem_id!r} has a solution but is not given", remedy="give it")
        if solution.finish != "stop" and (kind == "orm" or solution.finish != "step"):
            unfinished += 1
            continue
        problem = problem_of[solution.problem_id]
        outcome = None  # of a prefix there is none
        if solution.finish == "stop" and (verdict := grade(problem, solution.answer)).value != "ungraded":
            outcome = float(verdict.correct)
        example = Example(problem, solution.steps, targets.get(key, ()), outcome)
        known = outcome is not None if kind == "orm" else any(target is not None for target in example.targets)
        if known:
            examples.append(example)
        else:
            unlabelled += 1
    return Assembled(tuple(examples), unfinished, unlabelled)


def from_labels(labels: StepLabels, *, neutral: Neutral | Literal["class"] = "right") -> tuple[float | None, ...]:
    """Targets from recorded labels. What a 0 means depends on who rated: for people and oracles it is a neutral step,
    for rollouts a step from which no continuation succeeded. With `neutral="class"`, for three classes, the ratings
    stay as they are, and only people and oracles give them. A source that is not known raises InputError."""
    if neutral == "class":
        if labels.source not in SIGNED:
            raise InputError(f"labels from {labels.source!r} know no neutral step", remedy="train two classes")
        return labels.ratings
    if labels.source in SIGNED:
        return from_signed(labels.ratings, neutral=neutral)
    if labels.source in VALUES:
        return labels.ratings
    raise InputError(
        f"it is not known how labels from {labels.source!r} are to be read",
        remedy=f"known sources: {', '.join(sorted(SIGNED | VALUES))}",
    )
