"""Labels by rollouts: the estimate is what the continuations did, no more."""

import asyncio
import random

import pytest

from stepmark.errors import InputError
from stepmark.labels import Rollout, distinct, hard, roll_out, soft
from stepmark.policies.base import ScriptedPolicy
from stepmark.types import Cost, Prefix, Problem, Solution

PROBLEM = Problem("p", "How many?", "7", "test")
SOLUTION = Solution("p", 0, ("one", "two", "Answer: 7"), "7", "stop")


def script(prefix: Prefix, index: int, seed: int) -> str:
    """After step one, one sample in four is right; after step two all are."""
    if len(prefix.steps) == 1:
        return "two\nAnswer: 7\n" if index % 4 == 3 else "two\nAnswer: 8\n"
    return "Answer: 7\n"


def label(policy=None, solution=SOLUTION, **settings):
    return asyncio.run(roll_out(PROBLEM, [solution], policy or ScriptedPolicy(script), Rollout(**settings)))[0]


def test_estimates_count_the_continuations_that_reach_the_gold_answer():
    labels = label(rollouts=8)
    assert labels.outcomes_S == ("iiiciiic", "cccccccc", "c")
    assert hard(labels).ratings == (1.0, 1.0, 1.0)
    assert soft(labels).ratings == (0.25, 1.0, 1.0)


def test_fewer_rollouts_are_the_first_of_the_drawn_ones():
    """Sample i depends on (seed, i) alone, so the first four of eight are what four would have been."""
    assert label(rollouts=8).outcomes_S[0][:2] == label(rollouts=2, past_first_error=True).outcomes_S[0]
    assert hard(label(rollouts=8), 2).ratings == (0.0, 1.0, 1.0)
    assert soft(label(rollouts=8), 4).ratings[0] == 0.25


def test_steps_after_the_first_hard_error_are_rated_only_on_demand():
    wrong = ScriptedPolicy.replies(["Answer: 8\n"])
    assert hard(label(wrong)).ratings == (0.0, None, None)
    assert len(wrong.calls) == 1, "nothing is paid for labels that are dropped"
    assert hard(label(wrong, past_first_error=True)).ratings == (0.0, 0.0, 1.0)


def test_the_last_step_is_the_solution_itself():
    wrong = Solution("p", 0, ("one", "Answer: 8"), "8", "stop")
    labels = label(ScriptedPolicy.replies(["Answer: 7\n"]), wrong)
    assert (labels.outcomes_S[-1], hard(labels).ratings) == ("i", (1.0, 0.0))


def test_a_cut_continuation_is_a_miss_and_recorded_as_cut():
    labels = label(
        ScriptedPolicy.replies(["Answer: 7\n", "thinking on and on\nAnswer: 7\n"]), rollouts=2, max_tokens=12
    )
    assert labels.outcomes_S[0] == "cl"
    assert soft(labels).ratings[0] == 0.5


def test_an_unfinished_solution_is_refused():
    with pytest.raises(InputError, match="sample 4 of problem p is not finished"):
        label(solution=Solution("p", 4, ("one",), None, "length"))


def test_a_shared_prefix_is_continued_once_and_gives_the_same_labels_as_alone():
    policy = ScriptedPolicy(script)
    other = Solution("p", 1, ("one", "other", "Answer: 7"), "7", "stop")
    both = asyncio.run(roll_out(PROBLEM, [SOLUTION, other], policy, Rollout(past_first_error=True)))
    assert [prefix.steps for prefix, _, _ in policy.calls] == [("one",), ("one", "two"), ("one", "other")]
    alone = [label(solution=solution, past_first_error=True) for solution in (SOLUTION, other)]
    assert [labels.outcomes_S for labels in both] == [labels.outcomes_S for labels in alone]
    assert len({sampling.seed for _, _, sampling in policy.calls}) == 3


def test_costs_add_up():
    labels = label(rollouts=2, past_first_error=True)
    prompts = len("How many?\none\n") + len("How many?\none\ntwo\n")
    end = 1
    written = 2 * (len("two\nAnswer: 8\n") + end) + 2 * (len("Answer: 7\n") + end)
    assert labels.cost == Cost(prompt=prompts, cached=prompts, generated=written, requests=2)


def test_copies_and_unfinished_solutions_are_left_out():
    copy = Solution("p", 1, SOLUTION.steps, "7", "stop")
    cut = Solution("p", 2, ("one",), None, "length")
    other = Solution("q", 0, SOLUTION.steps, "7", "stop")
    assert distinct([SOLUTION, copy, cut, other]) == [SOLUTION, other]


def test_stopping_at_the_first_success_changes_no_hard_estimate_and_costs_less():
    """A hard estimate asks whether any continuation succeeds, and sample i is the same in any round."""
    for seed in range(20):
        policy = ScriptedPolicy(
            lambda p, i, s: f"Answer: {7 if random.Random(f'{s} {i} {p.steps}').random() < 0.2 else 8}\n"
        )
        whole, saved = (label(policy, rollouts=8, until_success=flag, seed=seed) for flag in (False, True))
        assert hard(saved).ratings == hard(whole).ratings
        assert all(
            all_of_them.startswith(some) for some, all_of_them in zip(saved.outcomes_S, whole.outcomes_S, strict=True)
        )
        assert saved.cost.generated <= whole.cost.generated


def test_what_stopped_at_a_success_gives_no_soft_estimate():
    with pytest.raises(InputError, match="fewer than 8 continuations"):
        soft(label(rollouts=8, until_success=True))
