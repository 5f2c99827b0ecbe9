"""A small report with every kind of figure in it, and the texts of a model that means harm."""

from stepmark.evaluate.curves import Curve, Difference, Point
from stepmark.evaluate.steps import calibration
from stepmark.report import Bar, Judged, Report, bars, contrasts, curve_pictures, gain_picture, headline, reliability
from stepmark.types import Problem, Verdict

HARM = "<script>alert('harm')</script><img src=x onerror=alert(1)> & \"]]></style>{{ 7 * 7 }}"
NS = (1, 4, 16)


def curve(method, scores, aggregate, accuracies, *, scored=0.0, standard_error=0.0) -> Curve:
    return Curve(
        method,
        scores,
        aggregate,
        tuple(
            Point(n, a, a - 0.0312, a + 0.0287, 61.5 * n, None if scored is None else scored * n, standard_error)
            for n, a in zip(NS, accuracies, strict=True)
        ),
    )


CURVES = (
    curve("majority", None, None, (0.501, 0.58001, 0.62)),
    curve("oracle", None, None, (0.501, 0.79, 0.95)),
    curve("best_of_n", "ORM", "last", (0.501, 0.66, 0.7123), scored=90.0),
    curve("best_of_n", "PRM", "product", (0.501, 0.70, 0.8123456789), scored=90.0),
    curve("weighted_vote", "PRM", "product", (0.501, 0.68, 0.74), scored=90.0, standard_error=0.00123),
)
DIFFERENCES = tuple(
    Difference(
        "best_of_n",
        "PRM",
        "product",
        baseline,
        scores,
        aggregate,
        n,
        accuracy - other,
        accuracy - other - 0.021,
        accuracy - other + 0.019,
    )
    for baseline, scores, aggregate, others in (
        ("majority", None, None, (0.501, 0.58001, 0.62)),
        ("best_of_n", "ORM", "last", (0.501, 0.66, 0.7123)),
    )
    for n, accuracy, other in zip(NS, (0.501, 0.70, 0.8123456789), others, strict=True)
)


def judged(problem: str, correct: bool | None, *scores: float, text: str = "2 + 2 = 4") -> Judged:
    value = "ungraded" if correct is None else "correct" if correct else "incorrect"
    return Judged(
        Problem(problem, f"How many? {text}", "4", "example"),
        tuple(f"{text} ({i})" for i in range(len(scores))),
        scores,
        scores[-1],
        f"4 {text}",
        Verdict(value, f"because {text}"),
        tuple(1.0 if correct else -1.0 for _ in scores),
        None if correct else 0,
    )


def report(text: str = "harmless") -> Report:
    solutions = contrasts(
        "PRM",
        "last",
        [
            judged("p1", True, 0.9, 0.95, text=text),
            judged("p1", False, 0.8, 0.1, text=text),
            judged("p2", True, 0.3, 0.2, text=text),
            judged("p2", False, 0.6, 0.97, text=text),
        ],
        threshold=0.5,
        rated_by=text,
    )
    return Report(
        title=f"Title {text}",
        headline=headline(CURVES, DIFFERENCES[2]),
        facts={f"fact {text}": f"value {text}"},
        pictures=(
            *curve_pictures((*CURVES, curve("best_of_n", text, "min", (0.501, 0.6, 0.65), scored=90.0))),
            gain_picture(DIFFERENCES),
            reliability({"PRM": calibration([0.1, 0.2, 0.8, 0.9], [False, False, True, True])}),
            bars(
                [Bar(f"4 {text}", 0.9, 0.85, 0.94), Bar("8", 0.93, 0.9, 0.95)],
                name="agreement",
                title=text,
                caption=text,
                axis="agreement",
            ),
        ),
        curves=CURVES,
        differences=DIFFERENCES,
        solutions=(solutions,),
        notes=(f"note {text}",),
        provenance={f"setting {text}": f"value {text}"},
    )
