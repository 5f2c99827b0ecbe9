"""Our own records: a directory with `problems.jsonl`, `solutions.jsonl` and `labels.jsonl`, as the stages of a run
write them and `stepmark train` reads them. Each may be `.gz`; without labels no step is rated.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from stepmark.errors import InputError
from stepmark.formats.labelled import UNRATED, Lost, blocks, count_fields, encode_lines
from stepmark.problems import read as read_problems
from stepmark.records import json_lines, replacing
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution, Problem, Solution, StepLabels

NAMES = ("problems", "solutions", "labels")


def read(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """The solutions in their order; problems and labels are held in memory. Raises InputError, naming file and line: a
    solution of an unknown problem, a second one of the same number, labels that do not fit, a second rating of a
    solution, and labels of one that is not given."""
    problems = {problem.id: problem for problem in read_problems(_file(path, "problems"), gold=False)}
    file = _file(path, "labels")
    labels: dict[tuple[str, int], StepLabels] = {}
    for line, label in json_lines(file, StepLabels) if file.exists() else ():
        key = (label.problem_id, label.index)
        if key in labels:
            twice = f"solution {label.index} of problem {label.problem_id!r} is rated twice"
            raise InputError(twice, path=file, line=line, remedy="keep one rating of each")
        labels[key] = label
    file = _file(path, "solutions")
    seen: set[tuple[str, int]] = set()
    for line, one in json_lines(file, Solution):
        name = f"solution {one.index} of problem {one.problem_id!r}"
        if (one.problem_id, one.index) in seen:
            raise InputError(f"{name} is given twice", path=file, line=line, remedy="number a problem's solutions")
        seen.add((one.problem_id, one.index))
        if one.problem_id not in problems:
            raise InputError(f"{name}, which is not given", path=file, line=line, remedy="give the problem")
        unrated = StepLabels(one.problem_id, one.index, (None,) * len(one.steps), UNRATED)
        rated = labels.pop((one.problem_id, one.index), unrated)
        if len(rated.ratings) != len(one.steps):
            count = f"{name} has {len(one.steps)} steps and {len(rated.ratings)} ratings"
            raise InputError(count, path=file, line=line, remedy="give one rating per step")
        yield LabelledSolution(problems[one.problem_id], one, rated)
    if labels:
        raise InputError(
            f"{len(labels)} solutions are rated but not given, the first is {next(iter(labels))}",
            path=path,
            remedy="give the solutions, and one rating of each",
        )


def write(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """All but `extra`. The three files appear when all are complete."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot be made: {error.strerror}", path=path, remedy="give a new directory") from error
    seen: dict[str, Problem] = {}
    with ExitStack() as stack:
        problems, answers, labels = (stack.enter_context(replacing(path / f"{name}.jsonl")) for name in NAMES)
        for block in blocks(solutions):
            new = []
            for one in block:
                count_fields(one.extra, frozenset(), lost)
                if one.problem.id not in seen:
                    seen[one.problem.id] = one.problem
                    new.append(one.problem)
                elif seen[one.problem.id] != one.problem:
                    lost["solutions of a problem that was worded or answered otherwise before, which is kept"] += 1
            problems.write(encode_lines(new))
            answers.write(encode_lines([one.solution for one in block]))
            labels.write(encode_lines([one.labels for one in block if one.labels.source != UNRATED]))


def _file(path: Path, name: str) -> Path:
    plain, packed = path / f"{name}.jsonl", path / f"{name}.jsonl.gz"
    return packed if packed.exists() and not plain.exists() else plain
