"""What another setting would have given, from the record of a search, without sampling again: where that is valid.

A replay runs the strategy itself once more, with a policy and a reward model that know only what is on record. So its
result is the one that a fresh run with the new settings would give, tree, account and lots included; but of the tokens
that a cache saved it knows what it saved in the larger run, where samples that are left out may have paid for others
(DVTS of 16 replayed from 64: 11 % fewer scored tokens, 1.5 % fewer FLOPs). What may differ from the recorded settings
follows from what the growth of the tree hangs on, and is checked before anything is run:

- the choice among the finished solutions, for every strategy: nothing grows by it;
- for solutions that are drawn whatever their scores are (parallel, adaptive, revise): the aggregation, and another
  reward model;
- fewer samples of `parallel` and `adaptive`, and of `revise` in the same chains, a vote of `adaptive` that is decided
  with less confidence, fewer subtrees of `dvts` or paths of `mcts`: the first ones are those that a smaller run draws.
  For the expectation over all subsets, instead of this one, see `stepmark.evaluate.arms`;
- the models' sizes, by which FLOPs are counted, where no budget hangs on them.

Everything else is a `ReplayError`, for some problems as for all: a beam of 64 cut to 16 is no beam of 16, since a
smaller one continues steps that the larger one dropped. That the steps it needs happen to be on record for a few
problems does not help: those would be the problems on which both agree.
"""

from collections.abc import Iterator
from dataclasses import fields, replace

from stepmark.errors import ReplayError
from stepmark.rewards.base import RewardModel
from stepmark.search.account import Budget
from stepmark.search.adaptive import Adaptive
from stepmark.search.dvts import Dvts
from stepmark.search.mcts import Mcts
from stepmark.search.parallel import Parallel
from stepmark.search.revise import Revise
from stepmark.search.settings import Settings
from stepmark.search.solve import Searches
from stepmark.search.strategies import STRATEGIES
from stepmark.search.tree import Node, SearchResult, request_seed
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling, StepScores


async def replay(
    problem: Problem, result: SearchResult, was: Settings, now: Settings, *, reward: RewardModel | None = None
) -> SearchResult:
    """The result that settings `now` give on the problem, from that which `was` gave. `reward` is another reward model
    than the recorded one; None takes the recorded scores. Raises ReplayError where that does not follow from the
    record, and says why."""
    check(result.strategy, was, now, another=reward is not None and result.scoring != Cost())
    search, _ = STRATEGIES[result.strategy]
    return await search(problem, _Drawn(problem, result, was.seed), reward or _Scored(result), now)


async def replay_run(run: Searches, now: Settings) -> Searches:
    """The run that settings `now` would have given. How long its searches would have taken is not on record, unless
    they draw the same. Errors as `replay`."""
    was = run.setup.settings
    pairs = zip(run.problems, run.results, strict=True)
    results = tuple([await replay(problem, result, was, now) for problem, result in pairs])
    same = set(_differ(was, now)) <= {"choose", "aggregate"}
    seconds = run.seconds if same else (None,) * len(run.seconds)
    return replace(run, setup=replace(run.setup, settings=now), results=results, seconds=seconds)


def check(strategy: str, was: Settings, now: Settings, *, another: bool = False) -> None:
    """Raises ReplayError unless results under `now`, with `another` reward model or the same, follow from those under
    `was`."""
    if strategy == "auto":
        raise _refused("what a plan gave", "its record is that of a look and of another search")
    if type(was) is not type(now):
        raise _refused(f"{type(was).__name__} as {type(now).__name__}", "another strategy grows another tree")
    for name in _differ(was, now):
        _check_field(strategy, name, was, now)
    if not another and now.scored == was.scored:
        return
    if another and was.steered:
        raise _refused("another reward model", f"in {strategy} scores decide which steps are continued")
    if was.budget.flops is not None:
        raise _refused("other scoring", "its cost is in the budget in FLOPs, and so decides how many are drawn")


def _check_field(strategy: str, name: str, was: Settings, now: Settings) -> None:
    before, after = getattr(was, name), getattr(now, name)
    what = f"{name} {after!r} in place of {before!r}"
    if name == "choose" or (not was.steered and name in ("aggregate", "within")):
        return
    if name == "models" and was.budget.flops is None:
        return
    if name == "aggregate":
        raise _refused(what, f"in {strategy} scores decide which steps are continued")
    first = isinstance(was, Parallel | Revise | Adaptive | Dvts) and name in ("n", "confidence")
    if first or (isinstance(was, Mcts) and name == "paths"):
        if after > before:
            raise _refused(what, "the record has no more samples")
        if was.budget != Budget():
            raise _refused(what, "under a budget, what is drawn first hangs on what is asked for in all")
        return
    if name in ("n", "m", "budget", "paths", "width"):
        why = "a smaller search continues steps that a larger one drops: a beam of 64 cut to 16 is no beam of 16"
        raise _refused(what, why if was.steered else "what is drawn together, and so by which seed, hangs on it")
    raise _refused(what, "other samples would have been drawn")


def _differ(was: Settings, now: Settings) -> Iterator[str]:
    return (one.name for one in fields(was) if getattr(was, one.name) != getattr(now, one.name))


def _refused(what: str, why: str) -> ReplayError:
    return ReplayError(f"{what} does not follow from the record: {why}", remedy="search again with these settings")


class _Drawn:
    """The policy of a recorded search: each request finds the nodes that it was answered with, by its seed."""

    def __init__(self, problem: Problem, result: SearchResult, seed: int) -> None:
        self._answers: dict[int, tuple[list[Node], int]] = {}
        for place, children in _children(result).items():
            for start in range(len(children)):
                self._answers[request_seed(seed, problem, place, start)] = (children, start)

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        children, start = self._answers.get(sampling.seed, ([], 0))
        drawn = children[start : start + n]
        if len(drawn) < n:
            where = f"after {len(prefix.steps)} steps of problem {prefix.problem.id!r}"
            raise _refused(f"{n} samples {where}", f"it holds {len(drawn)}, of other settings than were said")
        return [_completion(node) for node in drawn]


def _children(result: SearchResult) -> dict[tuple[str, ...], list[Node]]:
    """By place in the tree, as `Tree` names places: the nodes that were drawn there, in order."""
    found: dict[tuple[str, ...], list[Node]] = {}
    places: list[tuple[str, ...]] = []
    for node in result.nodes:
        if node.revises is not None:
            first, turn = node.revises, 1
            while (before := result.nodes[first].revises) is not None:
                first, turn = before, turn + 1
            asked = (*places[first], f"revision {turn}")
        else:
            asked = () if node.parent is None else places[node.parent]
        siblings = found.setdefault(asked, [])
        places.append((*asked, str(len(siblings))))
        siblings.append(node)
    return found


def _completion(node: Node) -> Completion:
    """As it was drawn, but that its log-probability is that of all tokens together, put on the first one."""
    logprobs = (node.logprob, *(0.0 for _ in node.token_ids[1:]))
    return Completion(node.steps, node.token_ids, logprobs, node.finish, node.cost)


class _Scored:
    """The reward model of a recorded search."""

    def __init__(self, result: SearchResult) -> None:
        self._scores: dict[tuple[str, ...], StepScores] = {}
        for i, node in enumerate(result.nodes):
            path = result.path(i)
            if node.scores is not None and (path not in self._scores or node.scoring != Cost()):
                self._scores[path] = StepScores(node.scores, node.scoring)

    async def score(self, prefix: Prefix) -> StepScores:
        if prefix.steps not in self._scores:
            raise ReplayError(
                f"a solution of problem {prefix.problem.id!r} was not scored", remedy="give the reward model"
            )
        return self._scores[prefix.steps]
