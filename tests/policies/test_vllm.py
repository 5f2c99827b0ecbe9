"""vLLM in process, in a Python of its own that has it, draws what the engine draws."""

import asyncio
import json
import os
import subprocess
from pathlib import Path

import pytest

from stepmark.policies import bundled
from stepmark.problems import quantities
from stepmark.types import Prefix, Sampling
from tests.policies.servers import ENVIRONMENT, VLLM_PYTHON, needs_vllm

SOURCE = Path(__file__).parents[2] / "src"
SCRIPT = """
import asyncio, json, sys
from dataclasses import asdict, replace
from stepmark.errors import InputError
from stepmark.policies.vllm import VllmPolicy
from stepmark.problems import read
from stepmark.types import Prefix, Sampling

async def main(path, problems):
    policy = VllmPolicy.load(path, dtype="float32", enforce_eager=True, max_num_seqs=32, block_size=32)
    greedy = Sampling(temperature=0)
    said = {"greedy": [(await policy.sample(Prefix(p), 1, greedy))[0] for p in problems]}
    prefix, said["steps"] = Prefix(problems[-1]), []
    while not said["steps"] or said["steps"][-1].finish == "step":
        said["steps"] += await policy.sample(prefix, 1, replace(greedy, stop="step"))
        last = said["steps"][-1]
        prefix = replace(prefix, steps=prefix.steps + last.steps, token_ids=prefix.token_ids + last.token_ids)
    try:
        await policy.sample(prefix, 1, greedy)
    except InputError as error:
        print(error)
    hot = Sampling(temperature=1.5, seed=4)
    said["few"] = await policy.sample(Prefix(problems[-1]), 3, hot)
    many = await asyncio.gather(*(policy.sample(Prefix(p), 8, hot) for p in problems))
    said["many"] = many[-1]
    said["cut"] = await policy.sample(Prefix(problems[-1]), 1, replace(hot, max_tokens=7))
    policy.close()
    print(json.dumps({name: [asdict(one) for one in them] for name, them in said.items()}))

if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], read(sys.argv[2])))
"""

pytestmark = pytest.mark.timeout(600)


def test_vllm_in_process_is_the_engine_token_for_token(tmp_path):
    needs_vllm()
    problems = list(quantities.generate("test", 6, levels=(1, 2, 3, 4)))
    (tmp_path / "script.py").write_text(SCRIPT)
    rows = [{"id": p.id, "question": p.question, "gold": p.gold} for p in problems]
    (tmp_path / "problems.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = [VLLM_PYTHON, str(tmp_path / "script.py"), str(bundled.PATH), str(tmp_path / "problems.jsonl")]
    environment = os.environ | ENVIRONMENT | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "has ended" in done.stdout
    said = json.loads(done.stdout.splitlines()[-1])

    policy = bundled.load()

    async def greedy():
        return await asyncio.gather(*(policy.sample(Prefix(p), 1, Sampling(temperature=0)) for p in problems))

    ours = [one for [one] in asyncio.run(greedy())]
    policy.close()
    for one, other in zip(said["greedy"], ours, strict=True):
        assert (tuple(one["token_ids"]), tuple(one["steps"]), one["finish"]) == (
            other.token_ids,
            other.steps,
            other.finish,
        )
        assert one["logprobs"] == pytest.approx(other.logprobs, abs=1e-4)
        assert one["cost"]["prompt"] + one["cost"]["cached"] == other.cost.prompt + other.cost.cached
    assert [step["finish"] for step in said["steps"]] == ["step"] * len(ours[-1].steps) + ["stop"]
    assert tuple(i for step in said["steps"] for i in step["token_ids"]) == ours[-1].token_ids
    assert said["steps"][-1]["cost"]["cached"] > 0
    assert [one["token_ids"] for one in said["few"]] == [one["token_ids"] for one in said["many"][:3]]
    assert len({tuple(one["token_ids"]) for one in said["many"]}) > 1
    assert (said["cut"][0]["finish"], said["cut"][0]["cost"]["generated"]) == ("length", 7)
