import asyncio

import pytest

from stepmark.errors import InputError
from stepmark.policies.base import ScriptedPolicy
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling

PREFIX = Prefix(Problem("p", "1+1?", "2", "test"))
LENGTH = len("1+1?\n")


def draw(policy: ScriptedPolicy, n: int, sampling: Sampling, prefix: Prefix = PREFIX) -> list[Completion]:
    return asyncio.run(policy.sample(prefix, n, sampling))


def test_a_whole_solution_ends_with_the_end_token():
    (only,) = draw(ScriptedPolicy.replies(["a\nAnswer: 2\n"]), 1, Sampling())
    assert only.steps == ("a", "Answer: 2")
    assert only.finish == "stop"
    assert only.token_ids[-1] == ScriptedPolicy.END
    assert len(only.logprobs) == len(only.token_ids)


def test_steps_are_drawn_one_by_one_until_nothing_is_left_to_say():
    solution = ("a", "b", "Answer: 2")
    policy = ScriptedPolicy(lambda prefix, index, seed: "".join(s + "\n" for s in solution[len(prefix.steps) :]))
    prefix, finishes = PREFIX, []
    for _ in range(4):
        (step,) = draw(policy, 1, Sampling(stop="step"), prefix)
        finishes.append(step.finish)
        prefix = Prefix(prefix.problem, prefix.steps + step.steps)
    assert prefix.steps == solution
    assert finishes == ["step", "step", "step", "stop"]


def test_a_truncated_solution_is_never_finished():
    (only,) = draw(ScriptedPolicy.replies(["a\nAnswer: 2\n"]), 1, Sampling(max_tokens=4))
    assert only.finish == "length"
    assert only.steps == ("a", "An")


def test_the_costs_of_the_samples_add_up_to_the_cost_of_the_call():
    samples = draw(ScriptedPolicy.replies(["ab\n", "c"]), 3, Sampling())
    assert Cost.total(s.cost for s in samples) == Cost(
        prompt=LENGTH, cached=2 * LENGTH, generated=4 + 2 + 4, requests=1
    )


def test_script_sees_index_and_seed_and_calls_are_recorded():
    policy = ScriptedPolicy(lambda prefix, index, seed: f"{seed}.{index}")
    samples = draw(policy, 2, Sampling(seed=7))
    assert [s.steps for s in samples] == [("7.0",), ("7.1",)]
    assert policy.calls == [(PREFIX, 2, Sampling(seed=7))]


@pytest.mark.parametrize(
    ("n", "sampling"),
    [
        (0, Sampling()),
        (1, Sampling(temperature=-1)),
        (1, Sampling(temperature=float("nan"))),
        (1, Sampling(top_p=0)),
        (1, Sampling(top_k=-1)),
        (1, Sampling(max_tokens=0)),
    ],
)
def test_a_request_that_cannot_be_served_is_refused(n, sampling):
    with pytest.raises(InputError):
        draw(ScriptedPolicy.replies(["a"]), n, sampling)


def test_samples_can_be_drawn_from_any_index_on():
    policy = ScriptedPolicy.replies(["a\n", "b\n", "c\n"])
    whole = asyncio.run(policy.sample(PREFIX, 3, Sampling()))
    late = asyncio.run(policy.sample(PREFIX, 2, Sampling(first=1)))
    assert [one.steps for one in late] == [one.steps for one in whole[1:]]
    assert late[0].cost.requests == 1
