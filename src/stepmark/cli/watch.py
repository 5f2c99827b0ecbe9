"""A search as it is seen in a terminal: the tree while it grows, and as it ended."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.text import Text
from rich.tree import Tree as Picture

from stepmark.policies.base import Policy
from stepmark.rewards.base import RewardModel
from stepmark.search.tree import Fate, Node, SearchResult
from stepmark.types import Completion, Finish, Prefix, Sampling, StepScores

MARKS: dict[Fate, tuple[str, str]] = {
    "chosen": ("the answer", "bold"),
    "finished": ("finished", ""),
    "kept": ("", ""),
    "dropped": ("dropped", "dim"),
    "duplicate": ("duplicate", "dim"),
    "truncated": ("cut by a limit", "dim"),
    "rollout": ("rollout", "dim italic"),
    "unfinished": ("left unfinished", "dim"),
}


@dataclass(eq=False, slots=True)
class _Step:
    text: str
    drawn: int
    """when, by the watch's count"""
    finish: Finish = "step"
    score: float | None = None
    times: int = 0
    children: "dict[str, _Step]" = field(default_factory=dict)


class Watch:
    """The policy and the reward model that a search asks, and the tree of all that they answered.

    Nobody tells it what the search decides. What it counts as given up is what was not continued while others were, and
    what led to nothing else; a search that comes back to a step (MCTS) brings it back.
    """

    def __init__(self, policy: Policy, reward: RewardModel | None) -> None:
        self._policy, self._reward = policy, reward
        self._root = _Step("", 0)
        self._count = self._continued = self.generated = 0

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """As the policy."""
        self._count += 1
        if prefix.steps:
            self._continued = self._count
        drawn = await self._policy.sample(prefix, n, sampling)
        self._count += 1
        for one in drawn:
            step = self._at(prefix.steps + one.steps)
            step.finish, step.times = one.finish, step.times + 1
            self.generated += one.cost.generated
        return drawn

    async def score(self, prefix: Prefix) -> StepScores:
        """As the reward model."""
        assert self._reward is not None
        scored = await self._reward.score(prefix)
        for number, score in enumerate(scored.scores, 1):
            self._at(prefix.steps[:number]).score = score
        return scored

    def __rich__(self) -> Picture:
        picture = Picture(Text(f"{self.generated:,} tokens", style="dim"))
        self._show(self._root, picture)
        return picture

    def _at(self, steps: Sequence[str]) -> _Step:
        step = self._root
        for text in steps:
            step = step.children.setdefault(text, _Step(text, self._count))
        return step

    def _alive(self, step: _Step) -> bool:
        """Whether it has ended well, may yet be continued, or leads to one that did or may."""
        if step.children:
            return any(map(self._alive, step.children.values()))
        return step.finish == "stop" or (step.finish == "step" and step.drawn > self._continued)

    def _show(self, step: _Step, picture: Picture) -> None:
        children = sorted(step.children.values(), key=lambda one: one.drawn)
        for child in children:
            if self._alive(child):
                told = "finished" if child.finish == "stop" else ""
                self._show(child, picture.add(_line(child.text, child.score, child.times, told, "")))
        lost = [child for child in children if not self._alive(child)]
        if lost:
            best = max((one.score for one in lost if one.score is not None), default=None)
            known = "" if best is None else f", the best scored {best:.2f}"
            picture.add(Text(f"{len(lost)} given up{known}", style="dim"))


def drawn(result: SearchResult) -> Picture:
    """The whole tree with what became of each step. Duplicates are counted at the step that they repeat."""
    nodes = result.nodes
    path = _path(nodes, result.chosen)
    repeated = Counter((result.path(i), node.finish) for i, node in enumerate(nodes) if node.fate == "duplicate")
    pictures: dict[int | None, Picture] = {None: Picture(Text(f"{len(nodes):,} samples", style="dim"))}
    for i, node in enumerate(nodes):  # parents stand before their children
        if node.fate == "duplicate":
            continue
        told, style = MARKS[node.fate]
        style = "bold" if i in path else style
        here = pictures[node.parent]
        own = (node.scores or ())[-len(node.steps) :] if node.steps else ()
        for number, text in enumerate(node.steps or ("(end)",), 1):
            last = number >= len(node.steps)
            score = node.value if last else own[number - 1] if own else None
            copied = last and node.fate != "rollout"
            times = 1 + (repeated.pop((result.path(i), node.finish), 0) if copied else 0)
            here = here.add(_line(text, score, times, told if last else "", style))
        pictures[i] = here
    return pictures[None]


def _path(nodes: Sequence[Node], node: int | None) -> set[int]:
    path = set()
    while node is not None:
        path.add(node)
        node = nodes[node].parent
    return path


def _line(text: str, score: float | None, times: int, told: str, style: str) -> Text:
    """A step: its score, from red over yellow to green where it is a probability; its text; what became of it."""
    line = Text()
    if score is not None:
        colour = "" if not 0 <= score <= 1 else "red" if score < 1 / 3 else "yellow" if score < 2 / 3 else "green"
        line.append(f"{score:5.2f} ", style=colour)
    line.append(text, style=style)
    if times > 1:
        line.append(f" ×{times}", style="dim")
    if told:
        line.append(f"  {told}", style="dim" if told != "the answer" else "bold green")
    return line
