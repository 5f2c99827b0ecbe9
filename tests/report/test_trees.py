"""Trees as they are drawn: every step has a mark where it belongs, and nothing is drawn upon another."""

import asyncio
from dataclasses import replace

import pytest

from stepmark.grading import grade
from stepmark.report import trees
from stepmark.report.trees import COLUMN, MARGIN, draw
from stepmark.types import Verdict
from tests.search.test_strategies import ALL, PROBLEM, SMALL, search

WRONG = Verdict("incorrect", "differs")


@ALL
def test_every_step_has_its_mark_in_the_column_of_its_number(name):
    result = search(SMALL[name])
    drawn = draw(name, result, grade(PROBLEM, result.answer))
    marks = [mark for mark in drawn.marks if "(end)" not in mark.tip]
    assert len(marks) == sum(len(node.steps) for node in result.nodes)
    assert len({(mark.x, mark.y) for mark in drawn.marks}) == len(drawn.marks)
    depths = sorted((mark.x - MARGIN) / COLUMN for mark in marks)
    starts = [len(result.path(i)) - len(node.steps) for i, node in enumerate(result.nodes)]
    expected = sorted(s + k + 1 for s, node in zip(starts, result.nodes, strict=True) for k in range(len(node.steps)))
    assert depths == expected
    assert all(0 < mark.x < drawn.width and 0 < mark.y < drawn.height for mark in drawn.marks)
    ends = {(mark.x, mark.y) for mark in drawn.marks}
    assert all(mark.parent in ends or mark.parent[0] == MARGIN for mark in drawn.marks)


@ALL
def test_the_path_to_the_answer_is_the_chosen_solution(name):
    result = search(SMALL[name])
    drawn = draw(name, result, WRONG)
    assert tuple(step.text for step in drawn.path) == result.solution
    marked = [mark.tip.split("\n")[0] for mark in drawn.marks if mark.chosen and "(end)" not in mark.tip]
    assert marked == list(result.solution)
    assert sum(count for _, count in drawn.fates) == len(result.nodes)


def test_unbounded_scores_are_coloured_from_the_lowest_to_the_highest():
    result = search(SMALL["parallel"])
    nodes = [
        replace(node, scores=tuple(10.0 * i + k for k in range(len(node.steps))), value=None)
        for i, node in enumerate(result.nodes)
    ]
    shades = [mark.shade for mark in draw("", replace(result, nodes=tuple(nodes)), WRONG).marks]
    assert (min(shades), max(shades)) == (0, trees.SHADES)


def test_a_tree_that_is_too_large_is_not_drawn_but_counted(monkeypatch):
    monkeypatch.setattr(trees, "LARGEST", 3)
    drawn = draw("", search(SMALL["beam"]), WRONG)
    assert not drawn.marks
    assert drawn.fates


def test_a_search_that_drew_nothing_is_drawn():
    result = asyncio.run(_nothing())
    assert draw("", result, WRONG).marks == ()


async def _nothing():
    from stepmark.search.settings import Settings
    from stepmark.search.tree import Tree

    return Tree(PROBLEM, None, None, Settings()).result("none")


@pytest.mark.parametrize("name", ["mcts", "revise"])
def test_all_scores_alike_are_one_colour(name):
    result = search(SMALL[name])
    flat = tuple(replace(node, scores=(7.0,) * len(node.scores or ()), value=7.0) for node in result.nodes)
    assert (
        len({mark.shade for mark in draw("", replace(result, nodes=flat), WRONG).marks if mark.shade is not None}) == 1
    )
