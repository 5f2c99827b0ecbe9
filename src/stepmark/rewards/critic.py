"""Generative verifiers: a language model writes a judgement of each step, and several judgements vote.

Read so: GenPRM (arXiv 2504.00891), ThinkPRM (arXiv 2504.16828) and plain models that are asked to judge; they differ in
the template and in the words of a verdict. Not covered: the probability of a verdict's token in place of a vote, which
a policy does not tell; code that a judgement contains is never run.
"""

import asyncio
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from stepmark.errors import ScoreError
from stepmark.policies.base import Policy
from stepmark.policies.draw import seed_of
from stepmark.rewards.base import checked
from stepmark.rewards.examples import readable
from stepmark.steps import join
from stepmark.types import Cost, Prefix, Problem, Sampling, StepScores


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a judgement is asked for, and read."""

    template: str = (
        "The following is a problem and the first steps of a solution.\n\n[Problem]\n{question}\n\n[Steps]\n{steps}\n"
        "Check the last step, step {number}, against the problem and the steps before it. Think first; then end with "
        r"\boxed{Yes} if the step is correct and \boxed{No} if it is not."
    )
    """{question}, {steps} (numbered, up to the one that is judged), {step} and {number} are replaced"""
    right: str = r"\\boxed\{(?:yes|correct)\}"
    """pattern of a verdict for the step, whatever the case of its letters"""
    wrong: str = r"\\boxed\{(?:no|incorrect)\}"
    votes: int = 1
    """judgements of each step"""
    sampling: Sampling = Sampling(temperature=0.6, max_tokens=2048)  # noqa: RUF009


class GenerativeReward:
    """The share of judgements that find a step right, of those that come to a verdict: the last one that is written.

    A judgement that was cut, or that gives no verdict, does not vote. Each prefix of a solution is judged by itself, so
    a step's score does not depend on what follows it.
    """

    def __init__(self, policy: Policy, judgement: Judgement | None = None) -> None:
        """`policy` answers the question of a problem, as an instructed model does with its chat template."""
        self._policy = policy
        self._judgement = judgement or Judgement()

    async def score(self, prefix: Prefix) -> StepScores:
        """One share per step. Raises `ScoreError` where no judgement of a step comes to a verdict; the others as
        `RewardModel.score`."""
        prefix = replace(prefix, steps=tuple(readable(prefix.problem, prefix.steps)))
        numbers = range(1, len(prefix.steps) + 1)
        judged = await asyncio.gather(*(self._judge(prefix, number) for number in numbers))
        return checked(prefix, [share for share, _ in judged], Cost.total(cost for _, cost in judged))

    async def _judge(self, prefix: Prefix, number: int) -> tuple[float, Cost]:
        how = self._judgement
        steps = prefix.steps[:number]
        asked = Problem(prefix.problem.id, self._asked(prefix, number), "", prefix.problem.source)
        sampling = replace(how.sampling, seed=seed_of(how.sampling.seed, prefix.problem, steps))
        written = await self._policy.sample(Prefix(asked), how.votes, sampling)
        verdicts = [self._verdict(join(one.steps)) for one in written if one.finish == "stop"]
        votes = [verdict for verdict in verdicts if verdict is not None]
        if not votes:
            raise ScoreError(
                f"no judgement of step {number} of a solution of problem {prefix.problem.id!r} comes to a verdict",
                remedy="raise max_tokens or votes, or give the patterns of this model's verdicts",
            )
        return sum(votes) / len(votes), Cost.total(one.cost for one in written)

    def close(self) -> None:
        """Closes the policy."""
        close: Callable[[], None] = getattr(self._policy, "close", lambda: None)
        close()

    def _asked(self, prefix: Prefix, number: int) -> str:
        """In one pass, so that a question which contains {step} stays as it is."""
        steps = prefix.steps[:number]
        fields = {
            "question": prefix.problem.question,
            "steps": join(f"Step {place}: {step}" for place, step in enumerate(steps, 1)),
            "step": steps[-1],
            "number": str(number),
        }
        return re.sub(r"\{(question|steps|step|number)\}", lambda match: fields[match[1]], self._judgement.template)

    def _verdict(self, text: str) -> bool | None:
        how = self._judgement
        found = list(re.finditer(f"(?P<right>{how.right})|(?:{how.wrong})", text, re.IGNORECASE))
        return found[-1]["right"] is not None if found else None
