"""Which token sequences have their keys and values in the cache: a radix tree over places of a pool.

A node is a run of tokens with their places. Leaves are evicted, least recently used first; a parent is used whenever
a child is, so that a prefix outlives what extends it. One thread uses a tree.
"""

import heapq
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.int64]


class Node:
    """A run of tokens that follows its parent's; `places[i]` is where the pool holds `tokens[i]`."""

    __slots__ = ("children", "parent", "pins", "places", "ready", "tokens", "used")

    def __init__(self, tokens: tuple[int, ...], places: Places, parent: "Node | None", ready: bool) -> None:
        self.tokens = tokens
        self.places = places
        self.parent = parent
        self.children: dict[int, Node] = {}
        self.pins = 0
        """readers that still need this path"""
        self.ready = ready
        """whether the pool holds the values already, or a forward pass will write them"""
        self.used = 0


@dataclass(frozen=True)
class Match:
    """The longest known prefix of a sequence."""

    node: Node
    """ends exactly where the match ends"""
    places: Places
    ready: int
    """how many of the matched tokens can be read now"""


class PrefixTree:
    """`capacity` is the number of tokens that the pool holds."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.root = Node((), np.empty(0, np.int64), None, ready=True)
        self.root.pins = 1
        self._free: Places = np.arange(capacity, dtype=np.int64)
        self._clock = 0

    def __len__(self) -> int:
        """Tokens held."""
        return self.capacity - len(self._free)

    def match(self, tokens: Sequence[int]) -> Match:
        """The longest prefix of `tokens` in the tree. Splits a node where the match ends inside it."""
        self._clock += 1
        node, at, ready = self.root, 0, 0
        places: list[Places] = []
        while at < len(tokens) and (child := node.children.get(tokens[at])):
            same = _common(child.tokens, tokens, at)
            if same < len(child.tokens):
                child = self._split(child, same)
            if child.ready and ready == at:
                ready += same
            at += same
            child.used = self._clock
            places.append(child.places)
            node = child
        return Match(node, np.concatenate(places) if places else np.empty(0, np.int64), ready)

    def extend(self, node: Node, tokens: Sequence[int], ready: bool) -> Node | None:
        """A new child of `node` with places for `tokens`; None when the pinned paths leave no room for it."""
        node.pins += 1
        if len(self._free) < len(tokens):
            self._evict(len(tokens))
        node.pins -= 1
        if len(self._free) < len(tokens):
            return None
        self._free, places = self._free[: -len(tokens)], self._free[-len(tokens) :]
        child = Node(tuple(tokens), places, node, ready)
        child.used = self._clock
        node.children[child.tokens[0]] = child
        return child

    def _split(self, node: Node, at: int) -> Node:
        """Cuts `node` in two and returns the upper part; the lower one keeps its identity, children and pins."""
        assert node.parent is not None
        upper = Node(node.tokens[:at], node.places[:at], node.parent, node.ready)
        node.parent.children[node.tokens[0]] = upper
        upper.children[node.tokens[at]] = node
        upper.used = node.used
        node.tokens, node.places, node.parent = node.tokens[at:], node.places[at:], upper
        return upper

    def _evict(self, need: int) -> None:
        """Frees at least `need` places where it can, and a sixteenth of the pool, so that its scan is paid seldom."""
        target = max(need, self.capacity // 16)
        heap = [(node.used, number, node) for number, node in enumerate(self._nodes()) if _evictable(node)]
        heapq.heapify(heap)
        number, freed, room = len(heap) + self.capacity, [self._free], len(self._free)
        while heap and room < target:
            _, _, node = heapq.heappop(heap)
            parent = node.parent
            assert parent is not None
            del parent.children[node.tokens[0]]
            freed.append(node.places)
            room += len(node.places)
            if _evictable(parent):
                number += 1
                heapq.heappush(heap, (parent.used, number, parent))
        self._free = np.concatenate(freed)

    def _nodes(self) -> Iterator[Node]:
        stack = [self.root]
        while stack:
            node = stack.pop()
            stack.extend(node.children.values())
            yield node


def _evictable(node: Node) -> bool:
    return not node.children and not node.pins and node.ready


def _common(run: tuple[int, ...], tokens: Sequence[int], at: int) -> int:
    """How many tokens of `run` agree with `tokens` from `at` on."""
    length = min(len(run), len(tokens) - at)
    if run[:length] == tuple(tokens[at : at + length]):
        return length
    return next(i for i in range(length) if run[i] != tokens[at + i])
