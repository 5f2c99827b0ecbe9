"""Step scores -> one score of the solution.

Which aggregation suits a reward model depends on what its step scores mean, hence on its labels:

- `product`: the chance that every step is right. For scores that are probabilities of a step's own correctness, from
  labels by people: Lightman et al. 2023 (arXiv 2305.20050, table 4: product 78.2, min 77.6, neutral counted as good).
  It falls with every further step, and so leans against long solutions.
- `min`: the weakest step. Math-Shepherd (arXiv 2312.08935); close to the product, without its lean on length.
- `last`: the score after the last step. For scores that are values, the chance that the solution ends right from
  here: labels by rollouts already see the future, and multiplying them counts it again. Snell et al. 2024 (arXiv
  2408.03314: last above min above product). Also how an outcome reward model is read.
- `mean`: the average step, as RLHFlow's models are used. Dilutes one bad step in a long solution.
- `logits`: the sum of the steps' logits log(p / (1 - p)), the log-odds that all steps give together when each is one
  piece of evidence that the solution is right. For scores that are probabilities and differ near 1, where product and
  min no longer tell solutions apart: .99 and .999 are far apart in logits. Sure steps make up for a doubtful one and a
  longer solution collects more, so it is no measure of "no step is wrong"; not for labels by people, and for labels by
  rollouts, whose values depend on each other, it counts the same evidence many times. Measure it before you use it.

The Qwen lessons (Zhang et al. 2025, arXiv 2501.07301) sum it up: `last` for labels by rollouts, `product` or `min` for
labels by people or a judge. Where in doubt, measure on held-out problems; results always name the aggregation.
"""

import math
from collections.abc import Sequence
from typing import Literal

from stepmark.errors import ScoreError

Aggregation = Literal["product", "min", "last", "mean", "logits"]

EDGE = 2.0**-24
"""the distance of float32's numbers just below 1: a surer probability than this is rounding"""


def aggregate(scores_S: Sequence[float], how: Aggregation) -> float:
    """The score of a solution from the scores of its steps, in order.

    `product` and `logits` are defined for scores in [0, 1] alone. A product may underflow to 0.0 (compare solutions by
    `sort_key`, which does not). A score of 0 or 1 counts as the nearest number inside, `EDGE` away, so that logits stay
    finite. The others take any finite scores. The result does not depend on the order of the steps, except for `last`.

    Raises ScoreError: no scores, a score that is NaN or infinite, or a product or logits of scores outside [0, 1].
    """
    _check(scores_S, how)
    match how:
        case "product":
            return math.prod(sorted(scores_S))
        case "min":
            return min(scores_S)
        case "last":
            return scores_S[-1]
        case "mean":
            return math.fsum(scores_S) / len(scores_S)
        case "logits":
            inside_S = [min(max(score, EDGE), 1 - EDGE) for score in scores_S]
            return math.fsum(math.log(score / (1 - score)) for score in inside_S)


def sort_key(scores_S: Sequence[float], how: Aggregation) -> float:
    """A number that orders solutions as `aggregate` does, at any length: the logarithm of the product (-inf where a
    score is 0), which does not underflow after some hundred steps, and otherwise `aggregate` itself. Same errors."""
    if how != "product":
        return aggregate(scores_S, how)
    _check(scores_S, how)
    return math.fsum(math.log(score) for score in scores_S) if min(scores_S) > 0 else -math.inf


def _check(scores_S: Sequence[float], how: Aggregation) -> None:
    if not scores_S:
        raise ScoreError("no step scores to aggregate", remedy="score at least one step, or mask the solution")
    for step, score in enumerate(scores_S):
        if not math.isfinite(score):
            raise ScoreError(f"the score of step {step} is {score}", remedy="score it again, or mask the solution")
        if how in ("product", "logits") and not 0 <= score <= 1:
            raise ScoreError(
                f"the score of step {step} is {score}, and {how} needs probabilities in [0, 1]",
                remedy="aggregate unbounded scores by min, last or mean",
            )
