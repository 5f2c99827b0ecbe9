from dataclasses import replace

import pytest

from stepmark.errors import InputError
from stepmark.rewards.assemble import assemble, from_labels
from stepmark.rewards.examples import Example
from stepmark.types import Problem, Solution, StepLabels, Verdict

PROBLEM = Problem(id="p", question="1 + 1?", gold="2", source="toy")
RIGHT = Solution("p", 0, ("1 + 1 = 2", "Answer: 2"), "2", "stop")
WRONG = Solution("p", 1, ("1 + 1 = 3", "Answer: 3"), "3", "stop")
CUT = Solution("p", 2, ("1 + 1 = 2",), None, "length")


def rated(index: int, *ratings: float | None, source: str = "oracle") -> StepLabels:
    return StepLabels("p", index, ratings, source)


def test_a_zero_means_what_its_source_means() -> None:
    """Trap: a neutral step is not wrong, a step from which no rollout succeeded is."""
    assert from_labels(rated(0, 1, 0, -1)) == (1.0, 1.0, 0.0)
    assert from_labels(rated(0, 1, 0, -1), neutral="wrong") == (1.0, 0.0, 0.0)
    assert from_labels(rated(0, 1.0, 0.25, 0.0, source="rollout-soft")) == (1.0, 0.25, 0.0)
    assert from_labels(rated(0, 1, 0, -1), neutral="class") == (1, 0, -1)
    with pytest.raises(InputError, match="know no neutral step"):
        from_labels(rated(0, 1.0, 0.0, source="rollout-hard"), neutral="class")
    with pytest.raises(InputError, match="'a friend'"):
        from_labels(rated(0, 1, 0, source="a friend"))


def test_the_grader_decides_what_an_orm_learns() -> None:
    data = assemble("orm", [PROBLEM], [RIGHT, WRONG])
    assert [example.outcome for example in data.examples] == [1.0, 0.0]


def test_labels_find_their_solution() -> None:
    data = assemble("prm", [PROBLEM], [RIGHT, WRONG], [rated(1, -1, -1), rated(0, 1, 1)])
    assert data.examples == (
        Example(PROBLEM, RIGHT.steps, (1.0, 1.0), outcome=1.0),
        Example(PROBLEM, WRONG.steps, (0.0, 0.0), outcome=0.0),
    )


def test_what_is_left_out_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cut solution is not wrong, and one that nobody rated is not right: neither is trained, neither is lost."""
    data = assemble("prm", [PROBLEM], [RIGHT, WRONG, CUT], [rated(0, None, None), rated(1, -1, None)])
    assert (len(data.examples), data.unfinished, data.unlabelled) == (1, 1, 1)
    monkeypatch.setattr("stepmark.rewards.assemble.grade", lambda problem, answer: Verdict("ungraded", "too hard"))
    data = assemble("orm", [PROBLEM], [RIGHT, CUT])
    assert (len(data.examples), data.unfinished, data.unlabelled) == (0, 1, 1)


def test_a_prefix_has_no_outcome() -> None:
    """It has no answer yet: taken for wrong, the few tokens of it would look like a wrong solution with high scores."""
    step = Solution("p", 2, ("1 + 1 = 2",), None, "step")
    data = assemble("prm", [PROBLEM], [RIGHT, step], [rated(0, 1, 1), rated(2, 1)])
    assert [example.outcome for example in data.examples] == [1.0, None]


@pytest.mark.parametrize(
    ("solutions", "labels", "message"),
    [
        ([RIGHT, RIGHT, replace(RIGHT)], [], "solution 0 of problem 'p' is given twice"),
        ([RIGHT], [rated(7, 1, 1)], "solution 7 of problem 'p' is rated but not given"),
        ([RIGHT], [rated(0, 1, 1), rated(0, 1, 1)], "rated twice"),
        ([RIGHT], [rated(0, 1)], "2 steps and 1 ratings"),
        ([Solution("q", 0, ("a",), "2", "stop")], [], "problem 'q' has a solution but is not given"),
    ],
)
def test_records_that_do_not_fit_together_are_errors(
    solutions: list[Solution], labels: list[StepLabels], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        assemble("prm", [PROBLEM], solutions, labels)
