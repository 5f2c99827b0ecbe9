"""Sensitivity: an exact judge drops from 1 to 0, a judge of difficulty does not drop at all."""

import asyncio

from stepmark.evaluate.sensitivity import drop, probe
from stepmark.problems import quantities
from stepmark.rewards.base import OracleReward, checked
from stepmark.types import Cost

PROBLEMS = list(quantities.generate("test", 120))


class Difficulty:
    """Knows the problem's level and nothing of the steps."""

    async def score(self, prefix):
        return checked(prefix, [1 / prefix.problem.level] * len(prefix.steps), Cost())


def drops(reward):
    probes = [probe(p, s, [True] * len(s)) for p in PROBLEMS for s in [quantities.solve(p)]]
    assert all(one is not None and one.changed != one.steps[one.step] for one in probes)

    async def run():
        return [await drop(reward, one) for one in probes if one]

    return [one.value for one in asyncio.run(run())]


def test_the_oracle_sees_every_change_of_a_number():
    assert set(drops(OracleReward(quantities.rate, neutral=1.0))) == {1.0}


def test_a_judge_of_difficulty_sees_none():
    assert set(drops(Difficulty())) == {0.0}


def test_only_steps_before_the_first_wrong_one_are_probed():
    problem = PROBLEMS[0]
    for seed in range(20):
        one = probe(problem, ["Ana = 3", "Ben = 4", "Cal = 5"], [True, False, True], seed)
        assert one is not None
        assert one.step == 0
    assert probe(problem, ["no number", "Ben = 4"], [True, False]) is None
