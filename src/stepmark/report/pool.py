"""The report of a candidate pool: what its reward models gain, and how the best of them judges solutions."""

from collections.abc import Mapping, Sequence
from typing import cast

from stepmark.evaluate.pool import Comparison
from stepmark.evaluate.verdicts import Labels, PoolVerdicts
from stepmark.formats.candidates import Candidates
from stepmark.report.curves import curve_pictures, gain_picture, headline
from stepmark.report.page import Report
from stepmark.report.solutions import Judged, Solutions, contrasts
from stepmark.rewards.aggregate import Aggregation, aggregate
from stepmark.types import Verdict

StepScores = Sequence[Sequence[tuple[float, ...] | None]]
"""of a reward model: [problem][candidate][step]; None: not scored"""


def pool_report(
    pool: Sequence[Candidates],
    steps: Mapping[str, StepScores],
    verdicts: PoolVerdicts,
    comparison: Comparison,
    *,
    labels: Labels,
    notes: Sequence[str],
    provenance: Mapping[str, str],
) -> Report:
    """The largest gain over majority vote at the largest n is the headline; with several gains to choose from, a note
    says so. Its reward model's solutions are shown."""
    n = max(point.n for point in comparison.curves[0].points)
    gains = [one for one in comparison.differences if one.n == n and one.baseline == "majority"]
    best = max(gains, key=lambda one: one.difference, default=None)
    solutions: tuple[Solutions, ...] = ()
    if best is None or best.scores is None:
        figures = {curve.method: curve.points[-1].accuracy for curve in comparison.curves}
        sentence = (
            f"Majority vote of {n} solves {100 * figures['majority']:.1f} % of the problems; any of the {n} candidates "
            f"is correct for {100 * figures['oracle']:.1f} %."
        )
    else:
        sentence = headline(comparison.curves, best)
        how = cast(Aggregation, best.aggregate)
        solutions = (contrasts(best.scores, how, _judged(pool, steps[best.scores], verdicts, labels, how)),)
    chosen = f"The headline names the largest of {len(gains)} gains; chosen after the fact, it flatters."
    return Report(
        title="Choosing among candidates",
        headline=sentence,
        facts={
            "problems": f"{len(pool):,}",
            "candidates": f"{sum(len(one.candidates) for one in pool):,}",
            "ungraded": f"{verdicts.ungraded:,}",
        },
        pictures=(*curve_pictures(comparison.curves), *([gain_picture(comparison.differences)] if gains else [])),
        curves=comparison.curves,
        differences=comparison.differences,
        solutions=solutions,
        notes=(*([chosen] if len(gains) > 1 else []), *notes),
        provenance=provenance,
    )


def _judged(
    pool: Sequence[Candidates], steps_P_N_S: StepScores, verdicts: PoolVerdicts, labels: Labels, how: Aggregation
) -> list[Judged]:
    reason = {"graded": "our grader", "recorded": "the pool's label"}[labels]
    said = {
        True: Verdict("correct", reason),
        False: Verdict("incorrect", reason),
        None: Verdict("ungraded", reason),
    }
    return [
        Judged(one.problem, candidate.steps, scores_S, aggregate(scores_S, how), candidate.answer, said[correct])
        for one, scores_N_S, graded in zip(pool, steps_P_N_S, verdicts.problems, strict=True)
        for candidate, scores_S, correct in zip(one.candidates, scores_N_S, graded.correct_N, strict=True)
        if scores_S is not None
    ]
