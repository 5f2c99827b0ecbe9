import random

from stepmark.rewards.auc import auc, within_problem_auc


def test_auc_is_the_share_of_pairs_in_order() -> None:
    """The definition, enumerated over all pairs, with many ties."""
    draw = random.Random(0)
    for _ in range(50):
        scores = [draw.randrange(5) / 4 for _ in range(30)]
        right = [draw.random() < 0.4 for _ in scores]
        pairs = [
            (1.0 if a > b else 0.5 if a == b else 0.0)
            for a, is_right in zip(scores, right, strict=True)
            for b, is_wrong in zip(scores, right, strict=True)
            if is_right and not is_wrong
        ]
        measured = auc(scores, right)
        assert measured is not None
        assert abs(measured - sum(pairs) / len(pairs)) < 1e-12


def test_one_class_has_no_auc() -> None:
    """.5 in its place would look like a measurement."""
    assert auc([0.1, 0.9], [True, True]) is None
    assert auc([], []) is None
    assert within_problem_auc([0.1, 0.9], [True, False], ["a", "b"]) is None


def test_knowing_only_the_problem_is_worth_nothing_within_it() -> None:
    """The reason for the second figure: scores that depend on the problem alone rank pooled steps well."""
    problems = ["easy"] * 10 + ["hard"] * 10
    right = [True] * 9 + [False] + [True] + [False] * 9
    scores = [0.9] * 10 + [0.1] * 10
    pooled = auc(scores, right)
    assert pooled is not None
    assert pooled > 0.85
    assert within_problem_auc(scores, right, problems) == 0.5
