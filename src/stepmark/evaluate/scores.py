"""Step scores of labelled solutions: from a file, from a reward model, or from a predictor that reads nothing."""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import msgspec

from stepmark.errors import InputError, ScoreError, TooLongError, UnreadableError
from stepmark.records import json_lines, write
from stepmark.rewards.base import RewardModel
from stepmark.types import LabelledSolution, Prefix

Trivial = Literal["always_right", "first_wrong", "random"]
"""Predictors to beat: every step is right; the first step is wrong and the rest right; each step's score is drawn
uniformly from [0, 1)."""
Scores = Sequence[tuple[float, ...] | None]
"""of each solution; None: it could not be scored"""


class _Row(msgspec.Struct):
    row: int
    step_scores: list[float] | None


def write_scores(path: Path, scores: Scores) -> None:
    """The step scores of all rows, as `read_scores` reads them."""
    write(path, (_Row(row, None if one is None else list(one)) for row, one in enumerate(scores)))


def read_scores(path: Path, solutions: Sequence[LabelledSolution]) -> list[tuple[float, ...] | None]:
    """The step scores of every solution, from lines `{"row", "step_scores"}` in any order, null where a solution could
    not be scored; rows of the data file count from 0. Raises, naming file and line, ScoreError: a row that the data has
    not, one that is scored twice or not at all, another number of scores than of steps. Nothing is padded, cut or left
    out."""
    found: dict[int, tuple[float, ...] | None] = {}
    for line, one in json_lines(path, _Row):
        if not 0 <= one.row < len(solutions) or one.row in found:
            problem = f"row {one.row} is scored again" if one.row in found else f"the data has no row {one.row}"
            raise ScoreError(problem, path=path, line=line, remedy="rows of the data count from 0, each once")
        steps = len(solutions[one.row].solution.steps)
        if one.step_scores is not None and len(one.step_scores) != steps:
            count = f"row {one.row} has {steps} steps but {len(one.step_scores)} scores"
            raise ScoreError(count, path=path, line=line, remedy="score it again, one score per step")
        found[one.row] = None if one.step_scores is None else tuple(one.step_scores)
    if missing := [row for row in range(len(solutions)) if row not in found]:
        raise ScoreError(
            f"{len(missing)} of {len(solutions)} rows have no scores, the first is row {missing[0]}",
            path=path,
            remedy="score them",
        )
    return [found[row] for row in range(len(solutions))]


async def score(reward: RewardModel, solutions: Sequence[LabelledSolution]) -> list[tuple[float, ...] | None]:
    """A reward model's scores. None for a solution that it cannot be shown: too long, a blank step, a special token in
    its text. Raises InputError where that is so of all; other errors as `RewardModel.score`."""

    async def one(labelled: LabelledSolution) -> tuple[float, ...] | None:
        try:
            return (await reward.score(Prefix(labelled.problem, labelled.solution.steps, None))).scores
        except (TooLongError, UnreadableError) as error:
            refused.append(error)
            return None

    refused: list[InputError] = []
    found = await asyncio.gather(*(one(labelled) for labelled in solutions))
    if solutions and len(refused) == len(found):
        raise InputError(f"no solution could be scored; the first: {refused[0].problem}", remedy=refused[0].remedy)
    return found


def trivial(how: Trivial, solutions: Sequence[LabelledSolution], seed: int = 0) -> list[tuple[float, ...]]:
    """The scores of a predictor that does not read the solutions."""
    rng = random.Random(seed)
    lengths = [len(one.solution.steps) for one in solutions]
    match how:
        case "always_right":
            return [(1.0,) * steps for steps in lengths]
        case "first_wrong":
            return [(0.0,) + (1.0,) * (steps - 1) for steps in lengths]
        case "random":
            return [tuple(rng.random() for _ in range(steps)) for steps in lengths]
