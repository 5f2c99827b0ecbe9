"""OmegaPRM (Luo et al. 2024, arXiv 2406.06592), as published with openr: one tree of partial solutions a line.

    tree   {"question", "final_answer", "question_id", "reasoning_steps": {"text", "mc_value", "children": [...]}}
    flat   {"question", "final_answer", "question_id", "reasoning_steps": [{"solution_prefix", "mc_value"}]}

The root is the question itself: its value is no rating of a step, and is carried in `extra`. Each path from it to a
leaf is a labelled solution; a node's value, the share of rollouts from there that were right, stands in the first of
the paths through it. A path whose text marks an answer is a finished solution.

In the flat form a prefix continues the longest other prefix that it begins with. The text between them is the step,
without the white space around it, which differs from line to line and is not kept; a prefix that is repeated counts
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec

from stepmark.errors import InputError
from stepmark.formats.labelled import Builder, Lost, count_fields, put, read_rows, targets
from stepmark.grading import extract
from stepmark.rewards.examples import Neutral
from stepmark.types import LabelledSolution


class Node(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    mc_value: float | None
    children: list[Node]


class Tree(msgspec.Struct, forbid_unknown_fields=True):
    question: str
    final_answer: str
    reasoning_steps: Node
    question_id: int | str | None = None


class Prefix(msgspec.Struct, forbid_unknown_fields=True):
    solution_prefix: str
    mc_value: float | None


class Flat(msgspec.Struct, forbid_unknown_fields=True):
    question: str
    final_answer: str
    reasoning_steps: list[Prefix]
    question_id: int | str | None = None


def read_tree(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """Raises InputError, naming file, line and field; also for a value outside [0, 1]."""
    build = Builder("omegaprm", "rollout-soft")
    for line, row in read_rows(path, Tree, lost):
        yield from _paths(row, build, path, line)


def read_flat(path: Path, lost: Lost) -> Iterator[LabelledSolution]:
    """As `read_tree`; also for a prefix that does not begin with the question."""
    build = Builder("omegaprm", "rollout-soft")
    for line, row in read_rows(path, Flat, lost):
        root = Node(row.question, None, [])
        nodes = {row.question: root}
        for prefix in sorted(row.reasoning_steps, key=lambda one: len(one.solution_prefix)):
            text, value = prefix.solution_prefix, prefix.mc_value
            if text in nodes:
                if nodes[text].mc_value is not None:
                    lost["repeated prefixes, counted once"] += 1
                else:
                    nodes[text].mc_value = value
                continue
            before = max((one for one in nodes if text.startswith(one)), key=len, default=None)
            if before is None:
                remedy = "restore the row, or remove it"
                raise InputError("a prefix does not begin with the question", path=path, line=line, remedy=remedy)
            nodes[text] = Node(text[len(before) :].strip(), value, [])
            nodes[before].children.append(nodes[text])
        yield from _paths(Tree(row.question, row.final_answer, root, row.question_id), build, path, line)


def _paths(row: Tree, build: Builder, path: Path, line: int) -> Iterator[LabelledSolution]:
    """The paths to the leaves, depth first."""
    extra: dict[str, Any] = {"mc_value": row.reasoning_steps.mc_value}
    if row.question_id is not None:
        extra["question_id"] = row.question_id
    told: set[int] = set()
    stack: list[tuple[Node, ...]] = [(child,) for child in reversed(row.reasoning_steps.children)]
    while stack:
        nodes = stack.pop()
        last = nodes[-1]
        if last.mc_value is not None and not 0 <= last.mc_value <= 1:
            remedy = "it is a share of rollouts, in [0, 1]"
            raise InputError(f"an mc_value is {last.mc_value}", path=path, line=line, remedy=remedy)
        if last.children:
            stack += [(*nodes, child) for child in reversed(last.children)]
            continue
        answer = extract(last.text)
        ratings = [None if id(node) in told else node.mc_value for node in nodes]
        told |= {id(node) for node in nodes}
        yield build(
            row.question,
            [node.text for node in nodes],
            ratings,
            gold=row.final_answer,
            answer=answer,
            finish="step" if answer is None else "stop",
            extra=extra,
        )


def write_tree(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """A tree for each run of solutions of one problem, whose common first steps are common nodes. A node that no
    solution rates has the value null."""
    put(path, _trees(solutions, lost, neutral))


def write_flat(path: Path, solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None = None) -> None:
    """The prefixes of those trees, with a blank line before each step."""
    put(
        path,
        (
            Flat(tree.question, tree.final_answer, list(_prefixes(tree.reasoning_steps)), tree.question_id)
            for tree in _trees(solutions, lost, neutral)
        ),
    )


def _trees(solutions: Iterable[LabelledSolution], lost: Lost, neutral: Neutral | None) -> Iterator[Tree]:
    held = frozenset({"mc_value", "question_id"})
    for _, group in groupby(solutions, lambda one: (one.problem.id, one.extra.get("question_id"))):
        tree = None
        for one in group:
            if tree is None:
                root = Node(one.problem.question, one.extra.get("mc_value"), [])
                tree = Tree(one.problem.question, one.problem.gold, root, one.extra.get("question_id"))
            count_fields(one.extra, held, lost)
            node = tree.reasoning_steps
            for step, value in zip(one.solution.steps, targets(one.labels, neutral, lost), strict=True):
                known = [child for child in node.children if child.text == step]
                if not known or (value is not None and known[-1].mc_value is not None):
                    known = [Node(step, value, [])]  # each rating is a node's: a second one is another node's
                    node.children += known
                child = known[-1]
                if value is not None:
                    child.mc_value = value
                node = child
        assert tree is not None  # groups are not empty
        yield tree


def _prefixes(root: Node) -> Iterator[Prefix]:
    stack = [(root, root.text)]
    while stack:
        node, text = stack.pop()
        yield Prefix(text, node.mc_value)
        stack += [(child, f"{text}\n\n{child.text}") for child in reversed(node.children)]
