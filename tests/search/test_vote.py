import pytest

from stepmark.search.vote import chances


def test_the_largest_class_wins_and_those_without_answer_do_not_vote() -> None:
    assert chances([0, 1, 1, None, None, None]) == {0: 0.0, 1: 1.0}
    assert chances([None, None]) == {}


def test_weights_can_overturn_the_majority() -> None:
    assert chances([0, 1, 1], [0.9, 0.4, 0.4]) == {0: 1.0, 1: 0.0}


def test_a_tie_is_shared_whichever_answer_came_first() -> None:
    for classes in ([0, 1, 1, 0, 2], [1, 0, 2, 0, 1]):
        assert chances(classes) == {0: 0.5, 1: 0.5, 2: 0.0}


def test_a_missing_weight_is_no_vote_and_a_weight_of_zero_is_a_weak_one() -> None:
    """Scored -1, the first candidate would take a vote from the second, which has its answer."""
    assert chances([0, 0, 1], [None, 0.6, 0.5]) == {0: 1.0, 1: 0.0}
    assert chances([0, 1], [None, 0.0]) == {1: 1.0}
    assert chances([0, 1], [0.0, 0.0]) == {0: 0.5, 1: 0.5}


def test_every_candidate_needs_a_weight_or_none() -> None:
    with pytest.raises(ValueError, match="zip"):
        chances([0, 1], [0.5])
