"""Step labels by rollouts (Math-Shepherd, arXiv 2312.08935, section 3.3): a step is as good as what it leads to.

From the prefix that ends with a step, the policy (the paper says completer) writes N continuations to the end. The
*hard* estimate is 1 if any of them reaches the gold answer, else 0; the *soft* estimate is the fraction that does.

Where this departs from the paper, or the paper is silent:
- The last step of a solution has no continuation: its only outcome is the solution's own.
- An answer that the grader cannot judge counts for neither side; a continuation cut by the token limit reached no
  answer and counts as a miss. Both are recorded, and a step of which no continuation could be judged has no label.
- Draws depend on (seed, problem, steps so far): two solutions that begin alike get the same continuations there, so
  their labels agree.
"""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stepmark.errors import InputError
from stepmark.grading import extract, grade
from stepmark.policies.base import Policy
from stepmark.policies.draw import seed_of
from stepmark.records import Job, Run, complete
from stepmark.steps import join
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling, Solution, StepLabels

CORRECT, INCORRECT, UNGRADED, CUT = "c", "i", "u", "l"
_LETTERS = {"correct": CORRECT, "incorrect": INCORRECT, "ungraded": UNGRADED}


@dataclass(frozen=True, slots=True)
class Rollout:
    """How steps are labelled by rollouts."""

    rollouts: int = 8
    """continuations per step; Math-Shepherd's N"""
    temperature: float = 1.0
    max_tokens: int = 256
    """limit of a continuation's new tokens"""
    past_first_error: bool = False
    """go on after the first step from which no continuation succeeded"""
    until_success: bool = False
    """draw the continuations of a step in rounds of 1, 1, 2, 4, ... and stop after the first round with a correct one:
    the same hard estimates for fewer tokens, and no soft ones"""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RolloutLabels:
    """What became of the continuations of each step of a solution.

    `outcomes_S[s]` has one letter for each continuation of the prefix that ends with step s: c correct, i incorrect,
    u ungraded, l cut by the token limit. Steps after the first hard error may be missing at the end, and so may
    continuations of a step that were not needed to know that one succeeds.
    """

    problem_id: str
    index: int
    steps: int
    """steps of the solution"""
    rollouts: int
    """continuations that were to be drawn for each step"""
    outcomes_S: tuple[str, ...]
    cost: Cost


async def label(
    run: Run,
    pool: Sequence[tuple[Problem, Sequence[Solution]]],
    policy: Policy,
    settings: Rollout,
) -> list[tuple[RolloutLabels, ...]]:
    """The labels of the `distinct` solutions of each problem, in the run's record file `rollouts`; what is on record is
    not rolled out again."""

    def job(problem: Problem, solutions: Sequence[Solution]) -> Job[RolloutLabels]:
        return Job(
            tuple((problem.id, solution.index) for solution in solutions),
            lambda: roll_out(problem, solutions, policy, settings),
        )

    jobs = [job(problem, distinct(solutions)) for problem, solutions in pool]
    flat = iter(await complete(run, "rollouts", RolloutLabels, jobs, title="rollouts"))
    return [tuple(next(flat) for _ in one.keys) for one in jobs]


async def roll_out(
    problem: Problem, solutions: Sequence[Solution], policy: Policy, settings: Rollout
) -> list[RolloutLabels]:
    """Draw and grade the continuations of every step of finished solutions of one problem, in the order given.

    A prefix that several solutions share is continued once, and paid for by the first of them. Raises InputError for a
    solution that is not finished: its last step may be torn, and a label of a torn step says nothing.
    """
    for solution in solutions:
        if solution.finish != "stop" or not solution.steps:
            raise InputError(
                f"sample {solution.index} of problem {problem.id} is not finished ({solution.finish})",
                remedy="label finished solutions only",
            )
    outcomes: list[list[str]] = [[] for _ in solutions]
    costs = [Cost() for _ in solutions]
    going = list(range(len(solutions)))
    for count in range(1, max((len(solution.steps) for solution in solutions), default=0) + 1):
        payers: dict[tuple[str, ...], int] = {}
        for i in going:
            if count < len(solutions[i].steps):
                payers.setdefault(solutions[i].steps[:count], i)
        drawn = await asyncio.gather(*(_continue(problem, steps, policy, settings) for steps in payers))
        letters = dict(zip(payers, (outcome for outcome, _ in drawn), strict=True))
        for payer, (_, cost) in zip(payers.values(), drawn, strict=True):
            costs[payer] += cost
        for i in going:
            whole = count == len(solutions[i].steps)
            outcomes[i].append(
                _LETTERS[grade(problem, solutions[i].answer).value] if whole else letters[solutions[i].steps[:count]]
            )
        going = [
            i
            for i in going
            if count < len(solutions[i].steps) and (settings.past_first_error or _hard(outcomes[i][-1]) != 0)
        ]
    return [
        RolloutLabels(problem.id, solution.index, len(solution.steps), settings.rollouts, tuple(letters_S), cost)
        for solution, letters_S, cost in zip(solutions, outcomes, costs, strict=True)
    ]


async def _continue(problem: Problem, steps: Sequence[str], policy: Policy, settings: Rollout) -> tuple[str, Cost]:
    """The outcomes of the continuations of one prefix, and what they cost."""
    outcomes, cost = "", Cost()
    while len(outcomes) < settings.rollouts and not (settings.until_success and CORRECT in outcomes):
        sampling = Sampling(
            temperature=settings.temperature,
            max_tokens=settings.max_tokens,
            seed=seed_of(settings.seed, problem, steps),
            first=len(outcomes),
        )
        left = settings.rollouts - len(outcomes)
        count = min(left, max(len(outcomes), 1)) if settings.until_success else left
        drawn = await policy.sample(Prefix(problem, tuple(steps), None), count, sampling)
        outcomes += "".join(_outcome(problem, steps, completion) for completion in drawn)
        cost += Cost.total(completion.cost for completion in drawn)
    return outcomes, cost


def _outcome(problem: Problem, steps: Sequence[str], completion: Completion) -> str:
    if completion.finish != "stop":
        return CUT
    return _LETTERS[grade(problem, extract(join((*steps, *completion.steps)))).value]


def _hard(outcomes: str) -> float | None:
    return 1.0 if CORRECT in outcomes else None if set(outcomes) <= {UNGRADED} else 0.0


def _soft(outcomes: str) -> float | None:
    judged = len(outcomes) - outcomes.count(UNGRADED)
    return outcomes.count(CORRECT) / judged if judged else None


def hard(labels: RolloutLabels, rollouts: int | None = None) -> StepLabels:
    """Hard estimates, from the first `rollouts` continuations of each step or from all: 1.0, 0.0, or None where no
    continuation could be judged or none was drawn. Fewer continuations than were drawn are a valid smaller estimate."""
    return _labels(labels, [_hard(outcomes[:rollouts]) for outcomes in labels.outcomes_S], "rollout-hard")


def soft(labels: RolloutLabels, rollouts: int | None = None) -> StepLabels:
    """Soft estimates: the fraction of correct continuations, or None as with `hard`. Raises InputError where drawing
    stopped at a success: the fraction among what was drawn would not be an estimate of the policy's."""
    needed = labels.rollouts if rollouts is None else rollouts
    if any(len(outcomes) < needed for outcomes in labels.outcomes_S[: labels.steps - 1]):
        raise InputError(
            f"a step of sample {labels.index} of problem {labels.problem_id} has fewer than {needed} continuations",
            remedy="draw more, and without until_success",
        )
    return _labels(labels, [_soft(outcomes[:rollouts]) for outcomes in labels.outcomes_S], "rollout-soft")


def _labels(labels: RolloutLabels, ratings: list[float | None], source: str) -> StepLabels:
    missing = [None] * (labels.steps - len(ratings))
    return StepLabels(labels.problem_id, labels.index, (*ratings, *missing), source, labels.cost)


def distinct(solutions: Iterable[Solution]) -> list[Solution]:
    """The finished solutions, each text of a problem once: labels of a copy would be paid for twice and weigh twice."""
    seen: set[tuple[str, tuple[str, ...]]] = set()
    kept = []
    for solution in solutions:
        key = (solution.problem_id, solution.steps)
        if solution.finish == "stop" and key not in seen:
            seen.add(key)
            kept.append(solution)
    return kept
