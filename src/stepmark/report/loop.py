"""The report of the whole loop (`stepmark.loop`): the gain, and whether the scores deserve the trust."""

import platform
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from stepmark import __version__, grading
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, resample
from stepmark.evaluate.steps import calibration, first_error
from stepmark.grading import grade
from stepmark.labels import hard
from stepmark.loop import KINDS, Labelled, Pool, Result, Settings, key
from stepmark.problems import quantities
from stepmark.report.curves import curve_pictures, gain_picture, headline
from stepmark.report.page import Report
from stepmark.report.pictures import Bar, Picture, bars, reliability
from stepmark.report.solutions import Judged, contrasts
from stepmark.rewards.aggregate import aggregate
from stepmark.rewards.auc import auc, within_problem_auc
from stepmark.rewards.examples import Kind
from stepmark.types import SolutionScores


def report(result: Result, settings: Settings, command: str) -> Report:
    """What the loop found, as a page."""
    comparison = result.comparison
    prm, n = key("best_of_n", "prm", settings), settings.candidates
    over_majority = next(
        d
        for d in comparison.differences
        if (d.method, d.scores, d.aggregate) == prm and d.n == n and d.baseline == "majority"
    )
    agreement = _agreement(result.labelled)
    return Report(
        title="Judging every step: the loop on the bundled model",
        headline=headline(comparison.curves, over_majority),
        facts=_facts(result, settings),
        pictures=(
            *curve_pictures(comparison.curves),
            gain_picture(comparison.differences),
            reliability({"PRM": calibration(*steps_of(result.fresh, result.scores["prm"])[:2])}),
            *([agreement] if agreement else []),
        ),
        curves=comparison.curves,
        differences=comparison.differences,
        solutions=tuple(
            contrasts(
                kind.upper(),
                key("best_of_n", kind, settings)[2] or "",
                _judged(result, kind, settings),
                rated_by="the oracle",
            )
            for kind in reversed(KINDS)
        ),
        notes=(
            "Problems, policy, rollouts and reward models are all of one small family: the figures compare methods and "
            "say nothing of other models and problems.",
            "Intervals are over problems; another seed of the training moves a curve too.",
            "AUC within a problem compares steps of the same problem. A reward model that only knows how hard a "
            "problem is has 50 % there, however high its AUC over all steps.",
            "Sensitivity is the mean fall of a right step's score when one digit of it is changed.",
        ),
        provenance={
            "command": command,
            "settings": ", ".join(f"{name} {getattr(settings, name)}" for name in settings.__slots__),
            "stepmark": f"{__version__}, grader {grading.VERSION}",
            "Python": platform.python_version(),
            "seconds": ", ".join(f"{stage} {taken:.0f}" for stage, taken in result.seconds.items()),
        },
    )


def _facts(result: Result, settings: Settings) -> dict[str, str]:
    first = next(curve for curve in result.comparison.curves if curve.method == "oracle").points
    facts = {
        "fresh problems": f"{len(result.fresh):,}",
        "candidates of each": f"{settings.candidates}",
        "pass@1": f"{first[0].accuracy:.1%}",
        f"pass@{first[-1].n}": f"{first[-1].accuracy:.1%}",
    }
    for kind in KINDS:
        scores, right, problems = steps_of(result.fresh, result.scores[kind])
        pooled, within = auc(scores, right), within_problem_auc(scores, right, problems)
        drops = [drop.value for drop in result.drops[kind]]
        facts[f"step AUC of the {kind.upper()}"] = f"{_known(pooled)}, within a problem {_known(within)}"
        facts[f"sensitivity of the {kind.upper()}"] = f"{np.mean(drops):.2f}" if drops else "unknown"
    found = first_errors(result, "prm")
    facts["first errors the PRM finds"] = found
    return facts


def first_errors(result: Result, kind: Kind, threshold: float = 0.5) -> str:
    """F1 of finding the first wrong step, with the threshold that it is for."""
    scores_N_S, errors = [], []
    for (problem, candidates), row in zip(result.fresh, result.scores[kind], strict=True):
        for one, scored in zip(candidates, row, strict=True):
            if scored:
                ratings = quantities.rate(problem, one.steps)
                scores_N_S.append(scored.scores)
                errors.append(next((s for s, rating in enumerate(ratings) if rating < 0), None))
    if len({error is None for error in errors}) < 2:
        return "unknown"
    return f"F1 {first_error(scores_N_S, errors, threshold).f1:.1%} at {threshold}"


def steps_of(
    fresh: Pool, scores: Sequence[Sequence[SolutionScores | None]]
) -> tuple[list[float], list[bool], list[str]]:
    """Score, rightness and problem of every step of the candidates up to and including its first wrong one: after it,
    nobody says what a right step is."""
    all_scores, right, problems = [], [], []
    for (problem, candidates), row in zip(fresh, scores, strict=True):
        for one, scored in zip(candidates, row, strict=True):
            if scored is None:
                continue
            for score, rating in zip(scored.scores, quantities.rate(problem, one.steps), strict=True):
                all_scores.append(score)
                right.append(rating >= 0)
                problems.append(problem.id)
                if rating < 0:
                    break
    return all_scores, right, problems


def agreement(labelled: Sequence[Labelled], rollouts: int) -> tuple[list[str], list[bool]]:
    """For each step that hard estimates from the first `rollouts` continuations rate, and that has no wrong step before
    it: its problem, and whether the oracle agrees. The last step of a solution is left out: its label is no estimate.
    """
    problems, agrees = [], []
    for one in labelled:
        if one.rollouts is None:
            continue
        truth = quantities.rate(one.problem, one.solution.steps)
        for rating, estimate in zip(truth[:-1], hard(one.rollouts, rollouts).ratings, strict=False):
            if estimate is None:
                break
            problems.append(one.problem.id)
            agrees.append((rating >= 0) == (estimate > 0))
            if rating < 0:
                break
    return problems, agrees


def _agreement(labelled: Sequence[Labelled]) -> Picture | None:
    drawn = max((one.rollouts.rollouts for one in labelled if one.rollouts), default=0)
    rows = []
    for rollouts in (1, 2, 4, 8, 16):
        problems, agrees = agreement(labelled, rollouts) if rollouts <= drawn else ([], [])
        if problems:
            rows.append(_bar(f"{rollouts} rollout" + "s" * (rollouts > 1), problems, agrees))
    if not rows:
        return None
    return bars(
        rows,
        name="agreement",
        title="Do rollouts rate steps as the oracle does?",
        caption="Share of steps on which the hard estimate and the exact oracle agree, up to the first wrong step, "
        "with 95 % intervals over problems.",
        axis="agreement",
    )


def _bar(name: str, problems: Sequence[str], agrees: Sequence[bool]) -> Bar:
    """The mean over problems, each with its own mean, and its interval."""
    rows = sorted(zip(problems, agrees, strict=True))
    values_P_1 = np.array([[np.mean([a for _, a in group])] for _, group in groupby(rows, key=lambda row: row[0])])
    bootstrap = Bootstrap(resamples=2000)
    low, high = accuracy_interval(values_P_1, resample(values_P_1, bootstrap), bootstrap.level)
    return Bar(name, float(values_P_1.mean()), float(low[0]), float(high[0]))


def _judged(result: Result, kind: Kind, settings: Settings) -> list[Judged]:
    how = key("best_of_n", kind, settings)[2]
    assert how is not None
    judged = []
    for (problem, candidates), row in zip(result.fresh, result.scores[kind], strict=True):
        for one, scored in zip(candidates, row, strict=True):
            if scored:
                ratings = quantities.rate(problem, one.steps)
                wrong = next((s for s, rating in enumerate(ratings) if rating < 0), None)
                score = aggregate(scored.scores, how)
                verdict = grade(problem, one.answer)
                judged.append(
                    Judged(
                        problem, one.steps, scored.scores, score, one.answer, verdict, tuple(map(float, ratings)), wrong
                    )
                )
    return judged


def _known(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3f}"
