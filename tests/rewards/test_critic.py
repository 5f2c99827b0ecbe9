import asyncio

import pytest

from stepmark.errors import InputError, ScoreError
from stepmark.policies.base import ScriptedPolicy
from stepmark.rewards.critic import GenerativeReward, Judgement
from stepmark.types import Prefix, Problem, Sampling

PROBLEM = Problem("p", "What is {step} + 1?", "2", "toy")
STEPS = ("1 + 1 = 2", "so 3")
YES, NO = "I think \\boxed{No}.\nBut it is \\boxed{Yes}", "Hm.\n\\boxed{no}"


def test_each_step_is_judged_with_what_stands_before_it_alone() -> None:
    """And the fields of the template are filled in once: a question may contain their names."""
    policy = ScriptedPolicy(lambda prefix, index, seed: NO if "Step 2: so 3" in prefix.problem.question else YES)
    found = asyncio.run(GenerativeReward(policy).score(Prefix(PROBLEM, STEPS)))
    assert found.scores == (1.0, 0.0)
    first, second = (prefix.problem.question for prefix, _, _ in policy.calls)
    assert "What is {step} + 1?" in first
    assert "Step 1: 1 + 1 = 2" in first
    assert "so 3" not in first
    assert "the last step, step 2," in second
    assert found.cost.requests == 2
    assert found.cost.generated == len(YES) + len(NO) + 2  # and two end tokens


def test_judgements_vote_and_those_without_a_verdict_do_not() -> None:
    """Counted against the step, an undecided judgement would be a wrong one."""
    policy = ScriptedPolicy.replies([YES, "I cannot say", NO, YES])
    found = asyncio.run(GenerativeReward(policy, Judgement(votes=4)).score(Prefix(PROBLEM, STEPS[:1])))
    assert found.scores == (pytest.approx(2 / 3),)


def test_a_cut_judgement_is_none() -> None:
    """Its verdict may be one that the rest would have taken back."""
    short = Judgement(sampling=Sampling(max_tokens=20))
    with pytest.raises(ScoreError, match=r"step 1 .* verdict"):
        asyncio.run(GenerativeReward(ScriptedPolicy.replies([YES]), short).score(Prefix(PROBLEM, STEPS)))


def test_other_words_of_a_verdict() -> None:
    """As GenPRM's single verdict, or a model that says it in words."""
    words = Judgement(template="{step}", right="the step is right", wrong="the step is wrong")
    policy = ScriptedPolicy(
        lambda prefix, index, seed: "The step is " + ("wrong" if "so" in prefix.problem.question else "right")
    )
    assert asyncio.run(GenerativeReward(policy, words).score(Prefix(PROBLEM, STEPS))).scores == (1.0, 0.0)


def test_every_step_has_a_seed_of_its_own() -> None:
    policy = ScriptedPolicy.replies([YES])
    asyncio.run(GenerativeReward(policy).score(Prefix(PROBLEM, STEPS)))
    assert len({sampling.seed for _, _, sampling in policy.calls}) == 2


def test_nothing_to_judge_is_an_error() -> None:
    for steps in ((), ("a", " ")):
        with pytest.raises(InputError):
            asyncio.run(GenerativeReward(ScriptedPolicy.replies([YES])).score(Prefix(PROBLEM, steps)))
