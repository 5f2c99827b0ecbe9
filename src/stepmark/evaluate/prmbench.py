"""PRMBench (Song et al. 2025, arXiv 2501.03124): are wrong steps of named kinds told from right ones?

A step is taken as right if its score is at least the threshold. Over all steps of a class, F1 is of the right steps,
negative F1 of the wrong ones, and PRMScore their mean; `multi_solutions`, whose solutions are all right, has F1 alone.
A group's score is the mean of its classes', the overall one is PRMScore over all steps. Where there is nothing to
divide by, a figure is None; where rows are missing, it is an error. Numbers of wrong steps past the last step are not
used. Intervals are over the original solutions (`idx`), whose copies in all classes are resampled together.

Not covered: the similarity to the untouched solution, and the separate redundancy score.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, interval, resample
from stepmark.evaluate.scores import Scores
from stepmark.evaluate.steps import first_below
from stepmark.types import LabelledSolution

Floats = NDArray[np.float64]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "simplicity": ("redundency", "circular"),
    "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
    "sensitivity": ("missing_condition", "deception", "multi_solutions"),
}
"""of classes, in the files' spelling"""
F1_ALONE = "multi_solutions"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one class, or of all."""

    solutions: int
    steps: int
    wrong: int
    """steps"""
    f1: float | None
    negative_f1: float | None
    score: float | None
    """PRMScore"""
    low: float | None
    high: float | None
    accuracy: float
    """of all steps"""
    first_error: float | None
    """share of the solutions with a wrong step of which the first is named"""


@dataclass(frozen=True, slots=True)
class PRMBench:
    overall: Figures
    classes: Mapping[str, Figures]
    groups: Mapping[str, float | None]
    """None: the data lacks one of its classes"""
    threshold: float
    unscored: int
    """solutions that the reward model refused, and that no figure is about"""


def evaluate(
    solutions: Sequence[LabelledSolution],
    scores: Scores,
    threshold: float = 0.5,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
) -> PRMBench:
    """Raises InputError where no solution is scored, or one has no class."""
    judged = [(one, found) for one, found in zip(solutions, scores, strict=True) if found is not None]
    if not judged:
        raise InputError("no solution is scored", remedy="use a model with a longer context")
    names = list(dict.fromkeys(str(one.extra.get("classification")) for one, _ in judged))
    if "None" in names:
        raise InputError("a solution has no classification", remedy="give PRMBench's files")
    overall = _figures(judged, threshold, bootstrap, f1_alone=False)
    classes = {
        name: _figures(
            [pair for pair in judged if pair[0].extra["classification"] == name],
            threshold,
            bootstrap,
            f1_alone=name == F1_ALONE,
        )
        for name in names
    }
    groups: dict[str, float | None] = {}
    for group, members in GROUPS.items():
        found = [classes[name].score for name in members if name in classes]
        known = [one for one in found if one is not None]
        groups[group] = float(np.mean(known)) if len(known) == len(members) else None
    return PRMBench(overall, classes, groups, threshold, len(solutions) - len(judged))


def _figures(
    judged: Sequence[tuple[LabelledSolution, tuple[float, ...]]],
    threshold: float,
    bootstrap: Bootstrap,
    *,
    f1_alone: bool,
) -> Figures:
    place = {idx: p for p, idx in enumerate(dict.fromkeys(one.extra["idx"] for one, _ in judged))}
    counts_P_4 = np.zeros((len(place), 4))  # right as right, wrong as right, right as wrong, wrong as wrong
    first = []
    for one, scores in judged:
        for score, rating in zip(scores, one.labels.ratings, strict=True):
            counts_P_4[place[one.extra["idx"]], 2 * (score < threshold) + (rating == -1)] += 1
        if -1 in one.labels.ratings:
            first.append(first_below(scores, threshold) == one.labels.ratings.index(-1))
    totals_4 = counts_P_4.sum(axis=0)
    f1, negative = (None if np.isnan(value) else float(value) for value in _f1s(totals_4[None])[0])
    total: float | None = None
    low: float | None = None
    high: float | None = None
    if f1 is not None and (f1_alone or negative is not None):
        resampled_B_2 = np.nan_to_num(_f1s(resample(counts_P_4, bootstrap)))
        total = f1 if f1_alone else (f1 + (negative or 0.0)) / 2
        score_B = resampled_B_2[:, 0] if f1_alone else resampled_B_2.mean(axis=1)
        low, high = (float(bound) for bound in interval(np.array(total), score_B, bootstrap.level))
    return Figures(
        len(judged),
        int(totals_4.sum()),
        int(totals_4[1] + totals_4[3]),
        f1,
        negative,
        total,
        low,
        high,
        float((totals_4[0] + totals_4[3]) / totals_4.sum()),
        float(np.mean(first)) if first else None,
    )


def _f1s(counts_B_4: Floats) -> Floats:
    """F1 of the right and of the wrong steps; NaN where there are none, neither in truth nor as predicted."""
    hits_B_2 = counts_B_4[:, [0, 3]]
    all_B_2 = 2 * hits_B_2 + (counts_B_4[:, 1] + counts_B_4[:, 2])[:, None]
    return np.divide(2 * hits_B_2, all_B_2, out=np.full_like(all_B_2, np.nan), where=all_B_2 > 0)
