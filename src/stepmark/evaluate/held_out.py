"""What a reward model is worth while it is trained: figures of the held-out solutions after an epoch."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from stepmark.evaluate.steps import calibration, first_error
from stepmark.rewards.aggregate import Aggregation, sort_key
from stepmark.search.best_of_n import chances

if TYPE_CHECKING:
    from stepmark.rewards.epochs import HeldOut, Measure

THRESHOLD = 0.5
"""below it a step counts as wrong; not tuned, for that would flatter"""


def figures(aggregate: Aggregation) -> "Measure":
    """A `measure` for `stepmark.rewards.train.train`. Every figure is None where the held-out solutions do not give it:

    - first-error F1 at a threshold of .5, over the solutions whose steps are rated up to the first wrong one, or all;
    - calibration: the expected calibration error of the rated steps' scores, in ten bins;
    - best of N: how often the solution with the best score is right, over the problems with several; chance: how often
      one drawn at random is.
    """

    def measure(held_out: "Sequence[HeldOut]") -> Mapping[str, float | None]:
        best, chance = _best_of_n(held_out, aggregate)
        return {
            "first-error F1": _first_error(held_out),
            "calibration": _calibration(held_out),
            "best of N": best,
            "chance": chance,
        }

    return measure


def _first_error(held_out: "Sequence[HeldOut]") -> float | None:
    scores, errors = [], []
    for one in held_out:
        error = one.right.index(False) if False in one.right else None
        if None not in one.right[:error]:
            scores.append(one.scores)
            errors.append(error)
    if all(error is None for error in errors) or None not in errors:
        return None
    return first_error(scores, errors, THRESHOLD).f1


def _calibration(held_out: "Sequence[HeldOut]") -> float | None:
    steps = [step for one in held_out for step in zip(one.scores, one.right, strict=True)]
    rated = [(score, right) for score, right in steps if right is not None]
    return calibration([score for score, _ in rated], [right for _, right in rated]).error if rated else None


def _best_of_n(held_out: "Sequence[HeldOut]", aggregate: Aggregation) -> tuple[float | None, float | None]:
    by_problem = defaultdict(list)
    for one in held_out:
        if one.outcome is not None:
            by_problem[one.problem_id].append((sort_key(one.scores, aggregate), one.outcome))
    best, chance = [], []
    for solutions in by_problem.values():
        if len(solutions) > 1:
            outcomes = [outcome for _, outcome in solutions]
            best.append(float(chances([key for key, _ in solutions]) @ outcomes))
            chance.append(sum(outcomes) / len(outcomes))
    return (sum(best) / len(best), sum(chance) / len(chance)) if best else (None, None)
