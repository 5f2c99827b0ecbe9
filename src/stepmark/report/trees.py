"""Search trees as pictures: which steps were drawn, how they were scored, where the search went on.

A tree grows from left to right, a column for each step and a row for each end. A mark is coloured by its score and
shaped by its fate; the path to the answer is drawn strongly. What a node is ranked by (a rollout's score, in lookahead
search) is its colour; the steps before its last one, where it has several, have their own.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepmark.report.solutions import SHADES
from stepmark.search.tree import Fate, Node, SearchResult
from stepmark.types import Problem, Verdict

COLUMN, ROW, MARGIN = 30, 13, 10
"""pixels"""
LARGEST = 3000
"""steps of a tree that is drawn"""

FATES: Mapping[Fate, str] = {
    "chosen": "the answer",
    "finished": "finished",
    "kept": "continued",
    "dropped": "dropped",
    "duplicate": "duplicate",
    "truncated": "cut by a limit",
    "rollout": "rollout",
    "unfinished": "left unfinished",
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A step in its place; `fate` is that of the node that ends with it, None for the steps before."""

    x: float
    y: float
    parent: tuple[float, float]
    shade: int | None
    """None: not scored"""
    fate: Fate | None
    chosen: bool
    """on the path to the answer"""
    tip: str


@dataclass(frozen=True, slots=True)
class Step:
    """Of the chosen solution."""

    text: str
    score: float | None
    shade: int | None


@dataclass(frozen=True, slots=True)
class Drawn:
    """A tree in its place. Without marks it was too large."""

    name: str
    """the search's"""
    result: SearchResult
    verdict: Verdict
    width: float
    height: float
    marks: tuple[Mark, ...]
    fates: tuple[tuple[Fate, int], ...]
    """how many nodes have each"""
    path: tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Trees:
    """The trees of one problem."""

    problem: Problem
    drawn: tuple[Drawn, ...]


def draw(name: str, result: SearchResult, verdict: Verdict) -> Drawn:
    """The tree of one search. Scores outside [0, 1] are coloured from the lowest to the highest of the tree."""
    nodes = result.nodes
    values = [
        score for node in nodes for score in (*(node.scores or ()), *([] if node.value is None else [node.value]))
    ]
    low, high = (0.0, 1.0) if not values or 0 <= min(values) <= max(values) <= 1 else (min(values), max(values))

    def shade(score: float | None) -> int | None:
        return None if score is None else round(SHADES * (score - low) / (high - low)) if high > low else SHADES // 2

    path = _path(nodes, result.chosen)
    counts = Counter(node.fate for node in nodes)
    steps = tuple(Step(text, score, shade(score)) for i in path for text, score in _scored(nodes, i))
    fates = tuple((fate, counts[fate]) for fate in FATES if counts[fate])
    if sum(max(len(node.steps), 1) for node in nodes) > LARGEST:
        return Drawn(name, result, verdict, 0, 0, (), fates, steps)
    starts, rows = _columns(nodes), _rows(nodes)
    places: dict[int | None, tuple[float, float]] = {None: (float(MARGIN), MARGIN + ROW * (max(rows, default=0.0) / 2))}
    marks = []
    for i, node in enumerate(nodes):
        before = places[node.parent]
        scored = _scored(nodes, i) or [("(end)", node.value)]
        for number, (text, score) in enumerate(scored, 1):
            last = number == len(scored)
            shown = node.value if last and node.value is not None else score
            here = (MARGIN + COLUMN * (starts[i] + number), MARGIN + ROW * rows[i])
            told = "not scored" if shown is None else f"score {shown:.3f}"
            tip = f"{text}\n{told}{f', {FATES[node.fate]}' if last else ''}"
            marks.append(Mark(*here, before, shade(shown), node.fate if last else None, i in path, tip))
            before = here
        places[i] = before
    width = max((mark.x for mark in marks), default=0) + MARGIN
    return Drawn(name, result, verdict, width, 2 * MARGIN + ROW * max(rows, default=0), tuple(marks), fates, steps)


def _path(nodes: Sequence[Node], node: int | None) -> list[int]:
    """The nodes from the first to a given one."""
    return [] if node is None else [*_path(nodes, nodes[node].parent), node]


def _columns(nodes: Sequence[Node]) -> list[int]:
    """The column in which each node's parent ends."""
    starts: list[int] = []
    for node in nodes:  # parents stand before their children
        before = node.parent
        starts.append(0 if before is None else starts[before] + max(len(nodes[before].steps), 1))
    return starts


def _rows(nodes: Sequence[Node]) -> list[float]:
    """A row for each end, in the order of the tree; a node stands in the middle of its children."""
    children: dict[int | None, list[int]] = {}
    for i, node in enumerate(nodes):
        children.setdefault(node.parent, []).append(i)
    rows = [0.0] * len(nodes)
    ends, order = 0, list(reversed(children.get(None, [])))
    visited = []
    while order:
        i = order.pop()
        visited.append(i)
        if i in children:
            order += reversed(children[i])
        else:
            rows[i], ends = float(ends), ends + 1
    for i in reversed(visited):
        if i in children:
            rows[i] = (rows[children[i][0]] + rows[children[i][-1]]) / 2
    return rows


def _scored(nodes: Sequence[Node], i: int) -> list[tuple[str, float | None]]:
    """A node's own steps with their scores."""
    steps, scores = nodes[i].steps, nodes[i].scores
    return list(
        zip(steps, scores[len(scores) - len(steps) :] if scores and steps else [None] * len(steps), strict=True)
    )
