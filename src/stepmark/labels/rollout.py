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

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from stepmark.errors import InputError
from stepmark.grading import extract, grade
from stepmark.policies.base import Policy
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
    seed: int = 0


@dataclass(frozen=True, slots=True)
class RolloutLabels:
    """What became of the continuations of each step of a solution.

    `outcomes_S[s]` has one letter for each continuation of the prefix that ends with step s: c correct, i incorrect,
    u ungraded, l cut by the token limit. Steps after the first hard error may be missing at the end.
    """

    problem_id: str
    index: int
    steps: int
    """steps of the solution"""
    outcomes_S: tuple[str, ...]
    cost: Cost


async def roll_out(problem: Problem, solution: Solution, policy: Policy, settings: Rollout) -> RolloutLabels:
    """Draw and grade the continuations of every step of a finished solution.

    Raises InputError for a solution that is not finished: its last step may be torn, and a label of a torn step says
    nothing.
    """
    if solution.finish != "stop":
        raise InputError(
            f"sample {solution.index} of problem {problem.id} is not finished ({solution.finish})",
            remedy="label finished solutions only",
        )
    outcomes: list[str] = []
    cost = Cost()
    for count in range(1, len(solution.steps) + 1):
        if count == len(solution.steps):
            outcomes.append(_LETTERS[grade(problem, solution.answer).value])
            break
        steps = solution.steps[:count]
        drawn = await policy.sample(
            Prefix(problem, steps, None), settings.rollouts, _sampling(problem, steps, settings)
        )
        outcomes.append("".join(_outcome(problem, steps, completion) for completion in drawn))
        cost += Cost.total(completion.cost for completion in drawn)
        if not settings.past_first_error and _hard(outcomes[-1]) == 0:
            break
    return RolloutLabels(problem.id, solution.index, len(solution.steps), tuple(outcomes), cost)


def _sampling(problem: Problem, steps: Sequence[str], settings: Rollout) -> Sampling:
    place = hashlib.sha256(repr((settings.seed, problem.id, tuple(steps))).encode()).digest()
    seed = int.from_bytes(place[:8]) >> 1
    return Sampling(temperature=settings.temperature, max_tokens=settings.max_tokens, seed=seed)


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
    """Soft estimates: the fraction of correct continuations, or None as with `hard`."""
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
