from math import inf

from stepmark.search.best_of_n import chances


def test_the_best_score_takes_all_and_ties_share() -> None:
    assert chances([0.1, 0.9, 0.5]).tolist() == [0, 1, 0]
    assert chances([0.9, 0.1, 0.9]).tolist() == [0.5, 0, 0.5]


def test_no_score_is_below_every_score() -> None:
    assert chances([None, -5.0]).tolist() == [0, 1]
    assert chances([None, -inf, -inf]).tolist() == [0, 0.5, 0.5]
    assert chances([None, None]).tolist() == [0, 0]
