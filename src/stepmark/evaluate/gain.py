"""What a reward model's choice is worth on a pool of candidates: its accuracy minus majority vote's."""

from collections.abc import Sequence

from stepmark.evaluate.curves import Difference
from stepmark.evaluate.intervals import Bootstrap
from stepmark.evaluate.pool import Scored, compare
from stepmark.evaluate.verdicts import judge
from stepmark.formats.candidates import Candidates
from stepmark.rewards.aggregate import Aggregation


def gain_over_majority(
    pool: Sequence[Candidates],
    scores_P_N_S: Sequence[Sequence[Sequence[float] | None]],
    aggregate: Aggregation,
    bootstrap: Bootstrap,
) -> tuple[Difference, ...]:
    """Best-of-n and weighted vote minus majority, with paired intervals over problems, where n is the least number of
    candidates that a problem has. Answers are graded here. A weighted vote by negative scores is left out."""
    n = min(len(one.candidates) for one in pool)
    scored = [Scored("scores", aggregate, scores_P_N_S)]
    return compare(judge(pool, "graded").problems, scored, ns=[n], bootstrap=bootstrap).differences
