"""The nouns of stepmark: frozen dataclasses, no behaviour beyond derived totals.

A *problem* has a gold answer. A *solution* is a sequence of *steps* that ends in an answer. A *prefix* is a problem
with the first steps of a solution: what a policy continues and a reward model scores. Token ids travel beside the
text, so that nothing is ever re-encoded in the middle of a solution.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

Finish = Literal["stop", "step", "length", "abort"]
"""Why sampling ended, filled by the backend: `stop` the solution ended, `step` one more step ended, `length` the token
limit cut it, `abort` it was given up. Only `stop` is a finished solution."""

VerdictValue = Literal["correct", "incorrect", "ungraded"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Tokens and requests spent. Costs add up; FLOPs follow from them and the model's size."""

    prompt: int = 0
    """prompt tokens that were computed"""
    cached: int = 0
    """prompt tokens that were taken from a cache"""
    generated: int = 0
    """tokens sampled from the policy; of every sample, though the engine computes equal beginnings once"""
    scored: int = 0
    """tokens a reward model computed"""
    requests: int = 0
    """calls to a backend"""

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.prompt + other.prompt,
            self.cached + other.cached,
            self.generated + other.generated,
            self.scored + other.scored,
            self.requests + other.requests,
        )

    @staticmethod
    def total(costs: Iterable["Cost"]) -> "Cost":
        return sum(costs, Cost())


@dataclass(frozen=True, slots=True)
class Problem:
    """A question whose answer can be checked."""

    id: str
    question: str
    gold: str
    source: str
    level: int | None = None


@dataclass(frozen=True, slots=True)
class Prefix:
    """A problem and the first steps of a solution; `token_ids` are the policy's own ids of those steps, when it wrote
    them (None: the steps came as text)."""

    problem: Problem
    steps: tuple[str, ...] = ()
    token_ids: tuple[int, ...] | None = ()


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw from a policy. Sample i of a request depends on (seed, i) alone."""

    temperature: float = 1.0
    """0 is greedy"""
    top_p: float = 1.0
    top_k: int = 0
    """0 is no limit"""
    max_tokens: int = 256
    """limit of newly generated tokens"""
    stop: Literal["end", "step"] = "end"
    """draw whole solutions, or one step"""
    seed: int = 0
    first: int = 0
    """index of the first sample: a request for samples 4 to 7 gives what they are in a request for 0 to 7"""


@dataclass(frozen=True, slots=True)
class Completion:
    """What a policy wrote after a prefix."""

    steps: tuple[str, ...]
    token_ids: tuple[int, ...]
    """() where the backend does not tell them"""
    logprobs: tuple[float, ...]
    """natural log-probability of each token under the sampling distribution's model at temperature 1; () where the
    backend does not tell them"""
    finish: Finish
    cost: Cost


@dataclass(frozen=True, slots=True)
class Solution:
    """One solution of a problem, as it is recorded: sample `index` of `problem_id`."""

    problem_id: str
    index: int
    steps: tuple[str, ...]
    answer: str | None
    """the extracted answer; None where there is none, as in a truncated solution"""
    finish: Finish
    token_ids: tuple[int, ...] = ()
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the grader says of an answer. Ungraded is never wrong: it says why no judgement was possible."""

    value: VerdictValue
    reason: str

    @property
    def correct(self) -> bool:
        return self.value == "correct"


@dataclass(frozen=True, slots=True)
class StepScores:
    """A reward model's scores, one per step of the prefix, in [0, 1] for probabilities (some published models are
    unbounded). An outcome reward model's last score is its score of the solution."""

    scores: tuple[float, ...]
    cost: Cost


@dataclass(frozen=True, slots=True)
class StepLabels:
    """Ratings of the steps of solution `index` of `problem_id`: +1 / 0 / -1 from people or an oracle, a value in [0, 1]
    from rollouts, None where a step was not rated."""

    problem_id: str
    index: int
    ratings: tuple[float | None, ...]
    source: str
    """who rated: `oracle`, `rollout-hard`, `rollout-soft`, `human`, ..."""
    cost: Cost = Cost()


@dataclass(frozen=True, slots=True)
class LabelledSolution:
    """A solution, or its first steps (finish `step`), with its problem and the ratings of its steps: what a file of
    step labels holds, whatever its format.

    Each rating stands once. Where several solutions share their first steps (a tree, alternatives to a step), one of
    them has the ratings of those steps and the others None. A problem without a known answer has the gold "".
    """

    problem: Problem
    solution: Solution
    labels: StepLabels
    extra: dict[str, Any] = field(default_factory=dict)
    """what else the file says of it, under the file's own names: carried along, to be written back"""


@dataclass(frozen=True, slots=True)
class SolutionScores:
    """A reward model's scores of the steps of solution `index` of `problem_id`, as they are recorded."""

    problem_id: str
    index: int
    scores: tuple[float, ...]
    cost: Cost = Cost()
    masked: bool = False
    """too long for the reward model, and left out on purpose: there are no scores"""
