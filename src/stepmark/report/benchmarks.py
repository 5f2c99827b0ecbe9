"""The pages of ProcessBench and PRMBench."""

import platform
from collections.abc import Mapping

from stepmark import __version__
from stepmark.evaluate.intervals import Figure
from stepmark.evaluate.prmbench import PRMBench
from stepmark.evaluate.processbench import ProcessBench
from stepmark.report.page import Cell, Report, Table
from stepmark.report.pictures import Bar, Picture, bars

PARTS = {
    "score": "PRMScore",
    "f1": "F1",
    "negative_f1": "negative F1",
    "accuracy": "accuracy",
    "right_accuracy": "of right steps",
    "wrong_accuracy": "of wrong steps",
    "first_error": "of first wrong steps",
    "similarity": "similarity",
}
"""the parts of PRMBench's figures, as the page calls them"""


def processbench_report(found: ProcessBench, said: str, by: str, provenance: Mapping[str, str]) -> Report:
    """`said`: how the threshold came about; `by`: whose scores they are."""
    names = {"erroneous": "the first wrong step is named", "correct": "no step of a right solution is", "f1": "F1"}
    rows = [
        Bar(title, *(getattr(one, name) for one in (found.value, found.low, found.high)))
        for name, title in names.items()
    ]
    picture = bars(
        rows,
        name="accuracies",
        title="Is the first wrong step found, and are right solutions left alone?",
        caption="Share of the solutions with a wrong step of which that step is the first below the threshold, share "
        "of those without of which none is, and their harmonic mean, with 95 % intervals over problems.",
        axis="share",
    )
    return _report(
        "ProcessBench",
        f"F1 is {found.value.f1:.1%}, of {found.erroneous} solutions with a wrong step and {found.correct} without.",
        _facts(f"{found.threshold:.6g}, {said}", by, found.unscored),
        picture,
        provenance,
    )


def prmbench_report(found: PRMBench, by: str, provenance: Mapping[str, str]) -> Report:
    """PRMScore of each class and group, and all its parts."""
    scores = {"all": found.overall.score, **found.groups, **{name: one.score for name, one in found.classes.items()}}
    known = [Bar(name, one.value, one.low, one.high) for name, one in scores.items() if one is not None]
    picture = bars(
        known,
        name="scores",
        title="Which kinds of wrong steps are told from right ones?",
        caption="PRMScore of all, of the groups and of the classes, with 95 % intervals over the original solutions.",
        axis="PRMScore",
    )
    rows = [("all", found.overall), *found.classes.items()]
    table = Table(
        "parts",
        "Parts of PRMScore by class",
        ("class", "steps", *PARTS.values()),
        tuple(
            (Cell(name), Cell(f"{one.steps:,}", value=one.steps), *(_cell(getattr(one, part)) for part in PARTS))
            for name, one in rows
        ),
    )
    overall = "unknown" if found.overall.score is None else f"{found.overall.score.value:.1%}"
    return _report(
        "PRMBench",
        f"PRMScore is {overall}, of {found.overall.steps:,} steps, {found.overall.wrong:,} of them wrong.",
        _facts(f"{found.threshold:g}", by, found.unscored),
        picture,
        provenance,
        table,
    )


def _facts(threshold: str, by: str, unscored: int) -> dict[str, str]:
    return {"threshold": threshold, "step scores": by.removeprefix("scores "), "could not be scored": str(unscored)}


def _cell(one: Figure | None) -> Cell:
    return Cell("-") if one is None else Cell(f"{one.value:.1%}", f"{one.low:.1%} to {one.high:.1%}", one.value)


def _report(
    title: str, headline: str, facts: Mapping[str, str], picture: Picture, provenance: Mapping[str, str], *tables: Table
) -> Report:
    return Report(
        title=title,
        headline=headline.replace("%", " %"),
        facts=facts,
        pictures=(picture,),
        curves=(),
        differences=(),
        solutions=(),
        notes=(),
        provenance={**provenance, "stepmark": __version__, "Python": platform.python_version()},
        tables=tables,
    )
