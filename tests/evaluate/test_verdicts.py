import pytest

from stepmark.errors import InputError
from stepmark.evaluate.verdicts import judge
from stepmark.formats.candidates import Candidate, Candidates
from stepmark.types import Problem


def pool(*candidates: tuple[str | None, bool | None]) -> list[Candidates]:
    problem = Problem("p", "?", gold="5", source="test")
    return [Candidates(problem, tuple(Candidate(("s",), answer, 3, label) for answer, label in candidates))]


def test_our_grader_decides_by_default_and_every_disagreement_is_named() -> None:
    verdicts = judge(pool(("5.0", True), ("4", False), ("4", True), ("4", True), (None, False)), "graded")
    (problem,) = verdicts.problems
    assert problem.correct_N[:4] == (True, False, False, False)
    assert problem.correct_N[4] is not True
    assert problem.classes_N == (0, 1, 1, 1, None)
    assert problem.tokens_N == (3,) * 5
    (one,) = verdicts.disagreements
    assert (one.answer, one.candidates, one.recorded, one.graded) == ("4", 2, True, False)


def test_recorded_labels_are_used_when_asked_for_and_never_invented() -> None:
    assert judge(pool(("4", True), ("5", False)), "recorded").problems[0].correct_N == (True, False)
    with pytest.raises(InputError, match="candidate 1 of problem 'p' has no is_correct"):
        judge(pool(("5", True), ("4", None)), "recorded")


def test_tokens_of_a_problem_are_known_for_all_candidates_or_not_at_all() -> None:
    problem = Problem("p", "?", gold="5", source="test")
    candidates = (Candidate(("s",), "5", 3, None), Candidate(("s",), "5", None, None))
    verdicts = judge([Candidates(problem, candidates)], "graded")
    assert verdicts.problems[0].tokens_N is None
    assert verdicts.recorded == 0
