"""The tree that a search grows, and what is recorded of it.

Every request of a search goes through `Tree`, so that what holds for one strategy holds for all:

- A child continues its parent's token ids with its own; no text is ever encoded again.
- A request has a seed of its own, from the settings' seed, the problem and the place in the tree. Same seed, same tree.
- A solution that was cut is never a finished one, and is not scored.
- No request exceeds the budget; the account holds all that was spent (`stepmark.search.account`).
- The same steps are scored once. A copy of a beam is marked, is not continued, and does not vote.
- Ties are broken by lots that hang on the seed and the place, not by the order in which samples came.
"""

import asyncio
import random
from collections.abc import Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from math import nan
from typing import Any, Literal, TypeVar

from stepmark.errors import BackendError, InputError
from stepmark.grading import extract
from stepmark.policies.base import Policy
from stepmark.policies.draw import seed_of
from stepmark.rewards.aggregate import aggregate, sort_key
from stepmark.rewards.base import RewardModel, checked
from stepmark.search.account import Account, Flops, Place
from stepmark.search.choose import Choice, choose
from stepmark.search.settings import Settings
from stepmark.steps import join
from stepmark.types import Completion, Cost, Finish, Prefix, Problem, Sampling, StepScores

T = TypeVar("T")

Fate = Literal["kept", "dropped", "duplicate", "truncated", "rollout", "unfinished", "finished", "chosen"]
"""Why a node is where the search went on, or not: `kept` it was continued; `dropped` others were preferred; `duplicate`
an earlier node has the same steps; `truncated` a token limit cut it; `rollout` it was drawn to judge the node where it
began; `unfinished` the search ended before it; `finished` a solution among which the answer was chosen, `chosen` it."""

FATES: dict[Finish, Fate] = {"stop": "finished", "step": "unfinished", "length": "truncated", "abort": "truncated"}
"""of a node that was just drawn"""


@dataclass(frozen=True, slots=True)
class Node:
    """A step of the tree, or a whole solution where the strategy draws whole ones, as it is recorded."""

    parent: int | None
    """index of the node that it continues; None: the problem"""
    steps: tuple[str, ...]
    """its own, without those of its parents; empty where a solution had nothing left to say"""
    token_ids: tuple[int, ...]
    """the policy's ids of those steps"""
    logprob: float
    """of those tokens together, at temperature 1"""
    finish: Finish
    scores: tuple[float, ...] | None
    """the reward model's, of all steps from the first on; None: not scored"""
    value: float | None
    """the score by which it was compared; None: by none"""
    fate: Fate
    answer: str | None
    """of a finished solution"""
    cost: Cost
    """of drawing it"""
    scoring: Cost
    """of scoring it; nothing for steps that were scored before"""
    revises: int | None = None
    """index of the attempt that it is a revision of"""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The answer to one problem, the whole tree, and what it cost."""

    problem_id: str
    index: int
    """for records: a run searches each problem once, 0"""
    strategy: str
    answer: str | None
    """None: no solution was finished, or the chosen one has no answer"""
    chosen: int | None
    """index of the node whose answer it is"""
    nodes: tuple[Node, ...]
    cost: Cost
    """of the policy: the sum over nodes"""
    scoring: Cost
    """of the reward model: the sum over nodes"""
    generations: int
    """the largest number of steps sampled at one depth"""
    flops: Flops | None
    """None: the models' sizes were not given"""
    exhausted: bool
    """whether the budget ended the search"""

    @property
    def solution(self) -> tuple[str, ...]:
        """The steps of the chosen solution."""
        return self.path(self.chosen) if self.chosen is not None else ()

    def path(self, node: int) -> tuple[str, ...]:
        """All steps from the first to those of a node."""
        parent = self.nodes[node].parent
        return (self.path(parent) if parent is not None else ()) + self.nodes[node].steps


@dataclass(eq=False, slots=True)
class Growing:
    """A node while the search runs; the root is the problem itself."""

    problem: Problem
    """what the policy was asked"""
    parent: "Growing | None" = None
    place: tuple[str, ...] = ()
    """the way to it from the root, by the number of each child"""
    steps: tuple[str, ...] = ()
    """all, from the first on"""
    token_ids: tuple[int, ...] = ()
    """all, from the first step on"""
    tokens: int = 0
    """generated for all steps"""
    own: Completion | None = None
    scores: tuple[float, ...] | None = None
    key: float | None = None
    """what it is ranked by: a `sort_key`"""
    value: float = nan
    """the score that this is the key of"""
    fate: Fate = "unfinished"
    scoring: Cost = field(default_factory=Cost)
    revises: "Growing | None" = None
    children: int = 0
    """drawn so far"""

    @property
    def finished(self) -> bool:
        return self.own is not None and self.own.finish == "stop"

    @property
    def live(self) -> bool:
        """Whether it can be continued."""
        return self.own is None or self.own.finish == "step"

    @property
    def cut(self) -> bool:
        """Whether a limit ended it in the middle of a step."""
        return not self.live and not self.finished

    @property
    def spot(self) -> Place:
        return Place(self.problem.question, len(self.steps), self.tokens)


Request = tuple[Growing, int]
"""a node and how many continuations of it are wanted"""


class _Call:
    """One call of the policy: `n` continuations of `parent`, the first of which is its child number `start`."""

    def __init__(self, request: int, parent: Growing, limit: int, n: int) -> None:
        self.request, self.parent, self.limit, self.n = request, parent, limit, n
        self.start = parent.children
        parent.children += n


class Tree:
    """One search in progress."""

    def __init__(self, problem: Problem, policy: Policy, reward: RewardModel | None, settings: Settings) -> None:
        """`reward` None is for strategies that ask for no scores."""
        self.problem = problem
        self.policy = policy
        self.reward = reward
        self.settings = settings
        self.account = Account(settings.budget, settings.models)
        self.root = Growing(problem)
        self.nodes: list[Growing] = []
        self.exhausted = False
        self._scores: dict[tuple[str, ...], tuple[float, ...]] = {}
        self._seen: dict[tuple[tuple[str, ...], bool], Growing] = {}

    async def grow(
        self,
        requests: Sequence[Request],
        *,
        whole: bool = False,
        score: bool = True,
        rollout: bool = False,
        temperature: float | None = None,
    ) -> list[list[Growing]]:
        """The continuations of each request, drawn and scored together: one step each, or `whole` solutions.

        Fewer where the budget ends (`exhausted`), or where a solution has no token left to grow by: it is truncated.
        """
        for parent, _ in requests:
            if self._room(parent, whole) < 1:
                parent.fate = "truncated"
        queue = [(r, parent) for r, (parent, n) in enumerate(requests) for _ in range(n) if self._room(parent, whole)]
        grown: list[list[Growing]] = [[] for _ in requests]
        while queue:
            granted = self._grant(queue, whole, score)
            if not granted:
                self.exhausted = True
                break
            wave = [(*one, limit) for one, limit in zip(queue, granted, strict=False)]
            queue = queue[len(wave) :]
            calls = [_Call(r, parent, limit, len(list(same))) for (r, parent, limit), same in groupby(wave)]
            drawn = await together(self._draw(call, whole, temperature) for call in calls)
            nodes: list[Growing] = []
            for call, completions in zip(calls, drawn, strict=True):
                new = [self._add(call, i, one, rollout) for i, one in enumerate(completions)]
                grown[call.request] += new
                nodes += new
            self.account.settle()
            if score:
                await self.score(nodes)
        return grown

    async def score(self, nodes: Iterable[Growing]) -> None:
        """Scores nodes that were not cut, and sets what they are ranked by. What the budget does not cover, and a
        solution without any step, stays without a score."""
        whole = [node for node in nodes if node.steps and not node.cut]
        missing = {node.steps: node for node in reversed(whole) if node.steps not in self._scores}
        payable = [node for node in reversed(missing.values()) if self.account.can_score(node.spot)]
        if payable and self.reward is None:
            raise InputError("the strategy needs a reward model", remedy="give one, or choose by majority")
        for node, scored in zip(payable, await together(map(self._judge, payable)), strict=True):
            self.account.scored(node.spot, scored.cost)
            self._scores[node.steps] = scored.scores
            node.scoring = scored.cost
        self.account.settle()
        self.exhausted = self.exhausted or len(payable) < len(missing)
        for node in whole:
            node.scores = self._scores.get(node.steps)
            if node.scores is not None:
                node.key = sort_key(node.scores, self.settings.combine)
                node.value = aggregate(node.scores, self.settings.combine)

    def distinct(self, nodes: Iterable[Growing]) -> list[Growing]:
        """The nodes whose steps no node before them has; the others are marked as duplicates. Cut ones are left out."""
        kept = []
        for node in nodes:
            if node.cut:
                continue
            if self._seen.setdefault((node.steps, node.finished), node) is node:
                kept.append(node)
            else:
                node.fate = "duplicate"
        return kept

    def rank(self, nodes: Iterable[Growing]) -> list[Growing]:
        """Best first; nodes without a score are left out, ties are broken by lot."""
        scored = [node for node in nodes if node.key is not None]
        return sorted(scored, key=lambda node: (-(node.key or 0.0), self.lot(node)))

    def keep(self, nodes: Iterable[Growing], count: int) -> list[Growing]:
        """The `count` best of live nodes, best first, marked as kept; the others are marked as dropped."""
        nodes = list(nodes)
        best = self.rank(nodes)[:count]
        for node in nodes:
            node.fate = "dropped"
        for node in best:
            node.fate = "kept"
        return best

    def lot(self, node: Growing) -> int:
        """A number that decides ties: of the seed and the node's place, whatever the order."""
        return seed_of(self.settings.seed, self.problem, ("lot", *node.place))

    def rng(self, *what: str) -> random.Random:
        """A source of randomness of its own for each purpose."""
        return random.Random(seed_of(self.settings.seed, self.problem, ("rng", *what)))

    def asking(self, problem: Problem, *place: str) -> Growing:
        """A root that asks the policy something else, at a place of its own."""
        return Growing(problem, place=place)

    def candidates(self) -> list[Growing]:
        """The finished solutions, without duplicates and rollouts."""
        return [node for node in self.nodes if node.fate == "finished"]

    def choose(self, candidates: Sequence[Growing], how: Choice, *what: str) -> Growing | None:
        """One of the candidates, as `stepmark.search.choose` does; `what` names the choice, for its lots."""
        answers, keys = [_answer(node) for node in candidates], [node.key for node in candidates]
        chosen = choose(answers, keys, how, self.settings.combine, self.rng("choice", *what))
        return None if chosen is None else candidates[chosen]

    def result(self, strategy: str, candidates: Sequence[Growing] | None = None) -> SearchResult:
        """What came out; the answer is chosen among `candidates`, by default all finished solutions."""
        chosen = self.choose(self.candidates() if candidates is None else candidates, self.settings.choose)
        if chosen is not None:
            chosen.fate = "chosen"
        number = {id(node): index for index, node in enumerate(self.nodes)}
        nodes = tuple(self._recorded(node, number) for node in self.nodes)
        return SearchResult(
            problem_id=self.problem.id,
            index=0,
            strategy=strategy,
            answer=None if chosen is None else _answer(chosen),
            chosen=None if chosen is None else number[id(chosen)],
            nodes=nodes,
            cost=Cost.total(node.cost for node in nodes),
            scoring=Cost.total(node.scoring for node in nodes),
            generations=self.account.generations,
            flops=self.account.flops if self.settings.models is not None else None,
            exhausted=self.exhausted,
        )

    def _room(self, parent: Growing, whole: bool) -> int:
        left = self.settings.max_tokens - parent.tokens
        return max(left if whole else min(left, self.settings.max_step_tokens), 0)

    def _grant(self, queue: Sequence[tuple[int, Growing]], whole: bool, score: bool) -> list[int]:
        """Token limits of the next samples that may be drawn together: all that the budget covers in full, or one that
        it covers in part."""
        limits: list[int] = []
        for _, parent in queue:
            most = self._room(parent, whole)
            least = most if limits else 1
            limit = self.account.grant(parent.spot, most, least=least, whole=whole, scored=score)
            if not limit:
                break
            limits.append(limit)
            if limit < most:
                break
        return limits

    async def _draw(self, call: "_Call", whole: bool, temperature: float | None) -> list[Completion]:
        parent = call.parent
        sampling = Sampling(
            temperature=self.settings.temperature if temperature is None else temperature,
            max_tokens=call.limit,
            stop="end" if whole else "step",
            seed=request_seed(self.settings.seed, self.problem, parent.place, call.start),
        )
        drawn = await self.policy.sample(Prefix(parent.problem, parent.steps, parent.token_ids), call.n, sampling)
        if len(drawn) != call.n:
            raise BackendError(f"the policy gave {len(drawn)} samples where {call.n} were asked for")
        return drawn

    def _add(self, call: "_Call", i: int, own: Completion, rollout: bool) -> Growing:
        parent = call.parent
        node = Growing(
            parent.problem,
            parent,
            (*parent.place, str(call.start + i)),
            parent.steps + own.steps,
            parent.token_ids + own.token_ids,
            parent.tokens + own.cost.generated,
            own,
            fate="rollout" if rollout else FATES[own.finish],
        )
        self.account.drew(parent.spot, len(own.steps), own.cost)
        self.nodes.append(node)
        return node

    async def _judge(self, node: Growing) -> StepScores:
        assert self.reward is not None
        prefix = Prefix(self.problem, node.steps, node.token_ids)
        found = await self.reward.score(prefix)
        return checked(prefix, found.scores, found.cost)

    def _recorded(self, node: Growing, number: dict[int, int]) -> Node:
        assert node.own is not None
        return Node(
            parent=number.get(id(node.parent)),
            steps=node.own.steps,
            token_ids=node.own.token_ids,
            logprob=sum(node.own.logprobs),
            finish=node.own.finish,
            scores=node.scores,
            value=None if node.key is None else node.value,
            fate="unfinished" if node.fate == "kept" and not node.children else node.fate,
            answer=_answer(node),
            cost=node.own.cost,
            scoring=node.scoring,
            revises=None if node.revises is None else number[id(node.revises)],
        )


def request_seed(seed: int, problem: Problem, place: tuple[str, ...], start: int) -> int:
    """Of the request for the children of a place in the tree, from child number `start` on."""
    return seed_of(seed, problem, place if start == 0 else (*place, f"from {start}"))


async def together(calls: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """The results of calls that run at once, in order; where one fails, the others are cancelled."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()


def _answer(node: Growing) -> str | None:
    return extract(join(node.steps)) if node.finished else None
