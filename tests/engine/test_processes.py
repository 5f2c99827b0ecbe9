"""Several processes draw and score what one does; what goes wrong in one of them is an error here, and none is left."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from stepmark.engine.processes import Processes, spread
from stepmark.errors import BackendError, InputError
from stepmark.policies import bundled
from stepmark.policies.local import LocalPolicy
from stepmark.problems import quantities
from stepmark.rewards import bundled as bundled_reward
from stepmark.rewards.local import LocalReward
from stepmark.types import Prefix, Sampling
from tests.engine.apart import Slow, ended, no_model

PREFIXES = [Prefix(quantities.problem("test", 0, i, 1 + i % 4)) for i in range(5)]
MEMORY = 1 << 28


@pytest.fixture
def slow():
    policy = Processes(Slow, 2, threads=2)
    yield policy
    policy.close()


def ask(policy, n, prefix=PREFIXES[0]):
    return asyncio.run(policy.sample(prefix, n, Sampling()))


def test_samples_and_scores_are_those_of_one_process():
    async def work(policy, reward):
        drawn = await asyncio.gather(*(policy.sample(one, 4, Sampling(max_tokens=100, seed=3)) for one in PREFIXES))
        grown = [replace(one, steps=several[0].steps) for one, several in zip(PREFIXES, drawn, strict=True)]
        return drawn, await asyncio.gather(*(reward.score(one) for one in grown))

    found = []
    for processes in (1, 2):
        policy = spread(bundled.load, processes, memory=MEMORY)
        reward = spread(partial(LocalReward.load, bundled_reward.PATH), processes, memory=MEMORY)
        found.append(asyncio.run(work(policy, reward)))
        policy.close()
        reward.close()
    (drawn, scored), (drawn_there, scored_there) = found
    for several, others in zip(drawn, drawn_there, strict=True):
        assert [one.token_ids for one in several] == [one.token_ids for one in others]
        assert sum(one.cost.generated for one in several) == sum(one.cost.generated for one in others)
        for one, other in zip(several, others, strict=True):
            assert one.logprobs == pytest.approx(other.logprobs, abs=1e-4)
    for one, other in zip(scored, scored_there, strict=True):
        assert one.scores == pytest.approx(other.scores, abs=1e-4)


def test_problems_are_spread_and_each_stays_where_it_is():
    policy = spread(Slow, 2, memory=10)

    async def several():
        waiting = asyncio.create_task(policy.sample(PREFIXES[0], 2, Sampling()))
        await asyncio.sleep(0)
        steps = [(await policy.sample(PREFIXES[i], 1, Sampling()))[0].steps[0] for i in (1, 1, 2, 1)]
        waiting.cancel()
        return [*steps, (await policy.sample(PREFIXES[0], 1, Sampling()))[0].steps[0]]

    first, again, other, third, where_it_waited = asyncio.run(several())
    policy.close()
    assert first == again == other == third != where_it_waited
    assert {one.split()[1] for one in (first, where_it_waited)} == {"5"}, "they share the memory"


def test_a_cancelled_call_is_cancelled_there(slow):
    async def work():
        waiting = asyncio.create_task(slow.sample(PREFIXES[0], 2, Sampling()))
        await slow.sample(PREFIXES[0], 1, Sampling())
        waiting.cancel()
        for _ in range(100):
            if (given_up := await slow.sample(PREFIXES[0], 3, Sampling())) == 1:
                break
        return given_up

    assert asyncio.run(work()) == 1


def test_errors_cross_over_as_they_are(slow):
    with pytest.raises(InputError, match="here:3: no") as caught:
        ask(slow, 5)
    assert caught.value.line == 3
    with pytest.raises(BackendError, match="ZeroDivisionError: by zero"):
        ask(slow, 6)
    assert ask(slow, 1)[0].finish == "stop"


def test_a_process_that_is_killed_fails_its_callers_and_no_others(slow):
    async def work():
        return await asyncio.gather(
            *(slow.sample(PREFIXES[i], n, Sampling()) for i, n in ((0, 2), (1, 1), (0, 4))), return_exceptions=True
        )

    lost, other, killed = asyncio.run(work())
    assert isinstance(lost, BackendError)
    assert isinstance(killed, BackendError)
    assert "exit code -9" in str(lost)
    assert other[0].finish == "stop"
    with pytest.raises(BackendError, match="exit code -9"):
        ask(slow, 1)
    assert ask(slow, 1, PREFIXES[1])[0].finish == "stop"


def test_closing_ends_the_processes_and_tells_who_waits(slow):
    pids = {int(ask(slow, 1, prefix)[0].steps[0].split()[0]) for prefix in PREFIXES}

    async def work():
        waiting = asyncio.create_task(slow.sample(PREFIXES[0], 2, Sampling()))
        await asyncio.sleep(0.05)
        slow.close()
        return await asyncio.gather(waiting, return_exceptions=True)

    began = time.monotonic()
    [told] = asyncio.run(work())
    assert time.monotonic() - began < 5
    assert isinstance(told, BackendError)
    assert "closed" in str(told)
    with pytest.raises(BackendError, match="closed"):
        ask(slow, 1)
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


@pytest.mark.parametrize(
    ("load", "error", "words"),
    [
        (no_model, InputError, "nowhere: there is no model"),
        (ended, BackendError, "ended while it loaded"),
        (partial(LocalPolicy.load, "nowhere"), InputError, "no such model directory"),
    ],
)
def test_a_model_that_cannot_be_loaded_is_told(load, error, words):
    with pytest.raises(error, match=words):
        spread(load, 2, memory=MEMORY)


def test_no_processes_compute_nothing():
    with pytest.raises(InputError, match="at least 1"):
        spread(bundled.load, 0, memory=MEMORY)


def test_processes_end_with_the_one_that_asks_them_even_if_it_is_killed():
    script = (
        "import os, signal\n"
        "from stepmark.engine.processes import Processes\n"
        "from tests.engine.apart import Slow\n"
        "if __name__ == '__main__':\n"
        "    policy = Processes(Slow, 2, threads=2)\n"
        "    print(*(member.process.pid for member in policy._members), flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    told = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert told.returncode == -signal.SIGKILL, told.stderr
    left = {int(pid) for pid in told.stdout.split()}
    assert len(left) == 2
    end = time.monotonic() + 20
    while left and time.monotonic() < end:
        left = {pid for pid in left if (Path("/proc") / str(pid)).exists()}
        time.sleep(0.05)
    assert not left
