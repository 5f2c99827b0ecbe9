"""The report of step scores against labels."""

import platform
from collections.abc import Mapping

from stepmark import __version__
from stepmark.evaluate.measures import Measures
from stepmark.report.page import Report
from stepmark.report.pictures import Bar, bars, reliability


def steps_report(found: Measures, facts: Mapping[str, str], provenance: Mapping[str, str]) -> Report:
    """The figures, whether scores are probabilities, and how they depend on a step's place."""
    places = [
        Bar(
            f"place {p.place}{' and later' if p is found.positions[-1] else ''}",
            p.score.value,
            p.score.low,
            p.score.high,
        )
        for p in found.positions
    ]
    pooled, within = ("unknown" if one is None else f"{one.value:.3f}" for one in (found.auc, found.within_problem_auc))
    return Report(
        title="Step scores against labels",
        headline=f"A right step is scored above a wrong one with probability {pooled}, within a problem {within}.",
        facts=facts,
        pictures=(
            *([reliability({"scores": found.calibration})] if found.calibration else []),
            *(
                [
                    bars(
                        places,
                        name="positions",
                        title="Does the score depend on the place?",
                        caption="Mean score of right steps at each place of their solutions. All of them are right: "
                        "a reward model without bias gives them the same score everywhere.",
                        axis="mean score",
                        format=".2f",
                    )
                ]
                if places
                else []
            ),
        ),
        curves=(),
        differences=(),
        solutions=(),
        notes=("Steps count up to and including the first wrong one.",),
        provenance={**provenance, "stepmark": __version__, "Python": platform.python_version()},
    )
