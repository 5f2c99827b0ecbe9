from stepmark.evaluate.intervals import Bootstrap
from stepmark.evaluate.pool import Scored, compare
from stepmark.evaluate.verdicts import judge
from stepmark.formats.candidates import Candidate, Candidates
from stepmark.report import Report, pool_report
from stepmark.types import Problem

POOL = tuple(
    Candidates(
        Problem(f"p{p}", "How many?", "4", "example"),
        tuple(Candidate(("a step",), "4" if (p + i) % 3 == 0 else "5", 10, None) for i in range(4)),
    )
    for p in range(6)
)
RIGHT = [[(0.9 if c.answer == "4" else 0.1,) for c in one.candidates] for one in POOL]
WRONG = [[(0.1 if c.answer == "4" else 0.9,) for c in one.candidates] for one in POOL]


def report(**scores: list[list[tuple[float, ...]]]) -> Report:
    verdicts = judge(POOL, "graded")
    comparison = compare(
        verdicts.problems,
        [Scored(name, "last", steps) for name, steps in scores.items()],
        ns=(1, 2, 4),
        bootstrap=Bootstrap(resamples=200),
    )
    return pool_report(POOL, scores, verdicts, comparison, labels="graded", notes=["a note"], provenance={})


def test_the_headline_is_the_largest_gain_and_says_that_it_was_chosen() -> None:
    """Best-of-4 by scores that are right finds the correct answer wherever there is one."""
    found = report(wrong=WRONG, right=RIGHT)
    assert found.headline.startswith("Best-of-4 by right (last) solves 100.0 % of the problems, ")
    assert any("largest of 4 gains" in note for note in found.notes)
    assert found.notes[-1] == "a note"
    (shown,) = found.solutions
    assert shown.scores == "right"
    assert (shown.accepted, shown.rejected) == ((8, 0), (0, 16))


def test_without_scores_the_vote_is_beside_what_is_possible() -> None:
    """Two of six problems have two right candidates of four: a tied vote, right with odds 1/2."""
    found = report()
    assert found.headline == (
        "Majority vote of 4 solves 16.7 % of the problems; any of the 4 candidates is correct for 100.0 %."
    )
    assert [picture.name for picture in found.pictures] == ["accuracy", "cost"]
    assert found.notes == ("a note",)
    assert found.solutions == ()
