"""PRMBench (Song et al. 2025, arXiv 2501.03124): are wrong steps of named kinds told from right ones?

A step is taken as right if its score is at least the threshold. Over all steps of a class, F1 is of the right steps,
negative F1 of the wrong ones, and PRMScore their mean; `multi_solutions`, whose solutions are all right, has F1 alone.
A group's score is the mean of its classes', the overall one is PRMScore over all steps.

Some models judge redundancy apart from validity (ReasonEval: the probability of a neutral step). With their redundancy
scores, a step of the classes `redundency` and `circular` is taken as wrong if it is redundant.

A solution that occurs again in its class counts once. Where there is nothing to divide by, a figure is None; where rows
are missing, it is an error. Numbers of wrong steps past the last step are not used. Intervals are over the original
solutions (`idx`), whose copies in all classes are resampled together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from stepmark.errors import InputError
from stepmark.evaluate.intervals import Bootstrap, Figure, figure, resample
from stepmark.evaluate.scores import Scores
from stepmark.formats.labelled import Builder
from stepmark.types import LabelledSolution

Floats = NDArray[np.float64]

GROUPS: Mapping[str, tuple[str, ...]] = {
    "simplicity": ("redundency", "circular"),
    "soundness": ("counterfactual", "step_contradiction", "domain_inconsistency", "confidence"),
    "sensitivity": ("missing_condition", "deception", "multi_solutions"),
}
"""of classes, in the files' spelling"""
REDUNDANT = GROUPS["simplicity"]
F1_ALONE = "multi_solutions"
UNTOUCHED_IN = "redundency"
"""the class whose rows give the untouched solutions, as in the official script: each class has a copy of its own"""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one class, or of all. PRMScore is `score`."""

    solutions: int
    steps: int
    wrong: int
    """steps"""
    score: Figure | None
    f1: Figure | None
    negative_f1: Figure | None
    accuracy: Figure | None
    """of all steps"""
    right_accuracy: Figure | None
    """share of the right steps that are taken as right"""
    wrong_accuracy: Figure | None
    """share of the wrong steps that are taken as wrong"""
    first_error: Figure | None
    """share of the first wrong steps that are taken as wrong, whatever is said of those before"""
    similarity: Figure | None
    """between a solution and its untouched original, as the benchmark calls it: the mean distance of the shares of
    their steps that are taken as right. 0: the model sees no difference. (The official script leaves out originals
    whose share is 0.)"""


@dataclass(frozen=True, slots=True)
class PRMBench:
    overall: Figures
    classes: Mapping[str, Figures]
    groups: Mapping[str, Figure | None]
    """None: the data lacks one of its classes"""
    threshold: float
    unscored: int
    """solutions that the reward model refused, and that no figure is about"""
    repeated: int
    """solutions that occurred before in their class"""


def untouched(solutions: Sequence[LabelledSolution]) -> list[LabelledSolution]:
    """The original of each solution of `UNTOUCHED_IN`, all of whose steps are right, where the file has it."""
    build = Builder("prmbench", "injected")
    return [
        build(extra["original_question"], extra["original_process"], [1] * len(extra["original_process"]), extra=extra)
        for one in solutions
        for extra in [one.extra]
        if extra.get("classification") == UNTOUCHED_IN
        and extra.get("original_process")
        and "original_question" in extra
    ]


def evaluate(
    solutions: Sequence[LabelledSolution],
    scores: Scores,
    threshold: float = 0.5,
    bootstrap: Bootstrap = Bootstrap(),  # noqa: B008  (frozen)
    *,
    originals: Scores = (),
    redundancy: Scores | None = None,
    redundancy_threshold: float = 0.15,
) -> PRMBench:
    """`originals`: scores of `untouched(solutions)`, for the similarity. `redundancy`: how redundant each step
    is; it is so above the threshold (ReasonEval's is .15). Raises InputError where no solution is scored, or one has
    no class."""
    shares: dict[str, float] = {}
    for one, found in zip(untouched(solutions) if originals else (), originals, strict=True):
        if found is not None:
            shares.setdefault(one.extra["idx"], _share([score < threshold for score in found]))
    judged: dict[tuple[str, str], tuple[LabelledSolution, list[bool]]] = {}
    repeated = unscored = 0
    for one, valid, redundant in zip(solutions, scores, redundancy or [None] * len(solutions), strict=True):
        if "classification" not in one.extra:
            raise InputError("a solution has no classification", remedy="give PRMBench's files")
        name = str(one.extra["classification"])
        by_redundancy = redundancy is not None and name in REDUNDANT
        found = redundant if by_redundancy else valid
        if found is None:
            unscored += 1
        elif (name, one.extra["idx"]) in judged:
            repeated += 1
        else:
            wrong = [score > redundancy_threshold if by_redundancy else score < threshold for score in found]
            judged[name, one.extra["idx"]] = (one, wrong)
    if not judged:
        raise InputError("no solution is scored", remedy="use a model with a longer context")

    names = list(dict.fromkeys(name for name, _ in judged))
    place = {idx: p for p, idx in enumerate(dict.fromkeys(idx for _, idx in judged))}
    counts_P_C_8 = np.zeros((len(place), len(names) + 1, 8))
    for (name, idx), (one, wrong) in judged.items():
        counts_P_C_8[place[idx], names.index(name)] = _counts(one, wrong, shares.get(idx))
    counts_P_C_8[:, -1] = counts_P_C_8.sum(axis=1)  # of all classes
    alone_C = np.array([name == F1_ALONE for name in (*names, None)])
    value = _figures(counts_P_C_8.sum(axis=0), alone_C)
    again = _figures(resample(counts_P_C_8, bootstrap), alone_C)
    totals_C_8 = counts_P_C_8.sum(axis=0)
    sizes = [*(sum(name == other for other, _ in judged) for name in names), len(judged)]
    classes = [
        Figures(
            sizes[c],
            int(totals_C_8[c, :4].sum()),
            int(totals_C_8[c, [1, 3]].sum()),
            **{key: figure(value[key][c], again[key][:, c], bootstrap.level) for key in value},
        )
        for c in range(len(sizes))
    ]
    groups: dict[str, Figure | None] = {}
    for group, members in GROUPS.items():
        columns = [names.index(name) for name in members if name in names]
        known = len(columns) == len(members)
        mean_B = again["score"][:, columns].mean(axis=1) if known else np.zeros(0)
        groups[group] = figure(value["score"][columns].mean(), mean_B, bootstrap.level) if known else None
    return PRMBench(classes[-1], dict(zip(names, classes, strict=False)), groups, threshold, unscored, repeated)


def _counts(one: LabelledSolution, said_wrong: Sequence[bool], share: float | None) -> list[float]:
    """Steps: right as right, wrong as right, right as wrong, wrong as wrong; first errors: named, all; the distance to
    the share of the untouched solution, and whether there is one."""
    wrong = [rating == -1 for rating in one.labels.ratings]
    steps = list(zip(said_wrong, wrong, strict=True))
    first = wrong.index(True) if True in wrong else None
    return [
        *(steps.count(kind) for kind in ((False, False), (False, True), (True, False), (True, True))),
        *((0, 0) if first is None else (said_wrong[first], 1)),
        *((0, 0) if share is None else (abs(_share(said_wrong) - share), 1)),
    ]


def _share(said_wrong: Sequence[bool]) -> float:
    """of the steps that are taken as right"""
    return 1 - sum(said_wrong) / len(said_wrong)


def _figures(counts_X_C_8: Floats, alone_C: NDArray[np.bool_]) -> dict[str, Floats]:
    """The figures of every class, NaN where there is nothing to divide by; X: axes of any number, as of resamples."""
    right_right, wrong_right, right_wrong, wrong_wrong, named, first, distance, pairs = np.moveaxis(counts_X_C_8, -1, 0)
    mistakes = wrong_right + right_wrong
    f1, negative = (_ratio(2 * hits, 2 * hits + mistakes) for hits in (right_right, wrong_wrong))
    return {
        "score": np.where(alone_C, f1, (f1 + negative) / 2),
        "f1": f1,
        "negative_f1": negative,
        "accuracy": _ratio(right_right + wrong_wrong, right_right + wrong_wrong + mistakes),
        "right_accuracy": _ratio(right_right, right_right + right_wrong),
        "wrong_accuracy": _ratio(wrong_wrong, wrong_wrong + wrong_right),
        "first_error": _ratio(named, first),
        "similarity": _ratio(distance, pairs),
    }


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full_like(whole, np.nan), where=whole > 0)
