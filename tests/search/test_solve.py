"""Searches on record: equal searches are equal records, whatever interrupted them."""

import asyncio
import math
from dataclasses import replace

import pytest

from stepmark.errors import InputError, RecordError
from stepmark.records import Run, digest
from stepmark.search.parallel import Parallel
from stepmark.search.rebase import Rebase
from stepmark.search.solve import Setup, read_searches, solve
from stepmark.search.strategies import STRATEGIES
from stepmark.types import Problem
from tests.search.test_strategies import ALL, MODELS, SMALL, Counted, Scored

PROBLEMS = [Problem(f"p{number}", f"which way, {number}?", "4", "test") for number in range(3)]


def search_all(path, settings, policy=None, reward=None, problems=PROBLEMS):
    strategy = next(name for name, (_, kind) in STRATEGIES.items() if kind is type(settings))
    setup = Setup(strategy, settings, {"name": "scripted"}, {"name": "scored"})
    with Run.open(path, setup, compressed=True) as run:
        before = {one.id for one in run.read("problems", Problem)}
        for problem in problems:
            if problem.id not in before:
                run.append("problems", problem)
        return asyncio.run(solve(run, problems, policy or Counted(), reward or Scored(), setup))


class Dies(Counted):
    """Fails after so many calls."""

    def __init__(self, calls):
        super().__init__()
        self.left = calls

    async def sample(self, prefix, n, sampling):
        self.left -= 1
        if self.left < 0:
            await asyncio.sleep(0.1)  # till the others are on record
            raise KeyboardInterrupt
        return await super().sample(prefix, n, sampling)


@ALL
def test_equal_searches_are_equal_records_and_read_back_as_they_were(tmp_path, name):
    settings = replace(SMALL[name], models=MODELS)
    results = search_all(tmp_path / "one", settings)
    search_all(tmp_path / "other", settings, problems=PROBLEMS[::-1])
    assert digest(tmp_path / "one" / "searches.jsonl.gz") == digest(tmp_path / "other" / "searches.jsonl.gz")
    found = read_searches(tmp_path / "one")
    assert list(found.results) == results
    assert list(found.problems) == PROBLEMS
    assert found.setup.settings == settings
    assert all(one is not None and one >= 0 for one in found.seconds)


def test_an_interrupted_run_goes_on_to_the_same_records(tmp_path):
    settings = Parallel(n=4)
    with pytest.raises(KeyboardInterrupt):
        search_all(tmp_path / "run", settings, Dies(2))
    with pytest.raises(RecordError, match="not searched yet"):
        read_searches(tmp_path / "run")
    again = Counted()
    search_all(tmp_path / "run", settings, again)
    assert len(again.calls) == 1
    search_all(tmp_path / "whole", settings)
    assert digest(tmp_path / "run" / "searches.jsonl.gz") == digest(tmp_path / "whole" / "searches.jsonl.gz")


def test_an_infinite_setting_reads_back(tmp_path):
    search_all(tmp_path / "run", Rebase(n=4, balance=math.inf))
    assert read_searches(tmp_path / "run").setup.settings == Rebase(n=4, balance=math.inf)


def test_a_strategy_that_reads_scores_asks_for_a_reward_model_before_it_draws(tmp_path):
    policy = Counted()
    for name, settings in SMALL.items():
        strategy = name.split()[0]
        if settings.scored:
            setup = Setup(strategy, settings, {}, None)
            with Run.open(tmp_path / name, setup) as run, pytest.raises(InputError, match="needs a reward model"):
                asyncio.run(solve(run, PROBLEMS, policy, None, setup))
    assert not policy.calls
    majority = Setup("adaptive", SMALL["adaptive"], {}, None)
    with Run.open(tmp_path / "adaptive", majority) as run:
        assert asyncio.run(solve(run, PROBLEMS, policy, None, majority))


def test_problems_of_one_id_are_refused(tmp_path):
    with pytest.raises(InputError, match="same id"):
        search_all(tmp_path, Parallel(n=1), problems=[PROBLEMS[0], PROBLEMS[0]])


def test_another_run_is_no_run_of_searches(tmp_path):
    with Run.open(tmp_path, Parallel()):
        pass
    with pytest.raises(RecordError, match="no run of searches"):
        read_searches(tmp_path)
