"""`stepmark sample`: solutions of problems, on record."""

from dataclasses import dataclass, field
from pathlib import Path

from stepmark.cli.models import Endpoint, PolicyOptions
from stepmark.types import Sampling


@dataclass(frozen=True)
class Settings:
    """What the run's records depend on; its manifest holds it, and a run resumes with the same alone. A server may have
    moved meanwhile."""

    policy: str
    n: int
    sampling: Sampling
    endpoint: Endpoint | None
    dtype: str | None


@dataclass(frozen=True)
class Sample:
    """Draws solutions of problems from a policy and records them in a run.

    The policy is a Hugging Face model directory, which runs in this process; the address of a server of the OpenAI
    protocol; or the model that comes with stepmark. The run holds the problems and, in solutions.jsonl, each solution
    with its answer, how it ended (stop, length, abort), and its cost. Interrupted or killed, run the same command
    again: what is on record is not drawn again. More problems may be added to the file.

    stepmark sample --problems p.jsonl --n 8 --out runs/a

    stepmark sample --problems p.jsonl --n 8 --out runs/b --policy ./Qwen3-0.6B

    stepmark sample --problems p.jsonl --n 8 --out runs/c --policy http://127.0.0.1:8000 --server vllm --model qwen
    """

    problems: Path
    """the problems: JSON lines with id, question and gold, plain or .gz"""
    out: Path
    """the run's directory"""
    n: int = 1
    """solutions of each problem"""
    temperature: float = 1.0
    """0 is greedy"""
    top_p: float = 1.0
    """1 is no limit"""
    top_k: int = 0
    """0 is no limit"""
    max_tokens: int = 256
    """limit of a solution; one that reaches it is recorded as cut, without an answer"""
    seed: int = 0
    """sample i of a problem depends on the seed, the problem and i"""
    by: PolicyOptions = field(default_factory=PolicyOptions)

    def run(self) -> int:
        import asyncio
        import time

        from stepmark import problems
        from stepmark.policies.base import check_request
        from stepmark.policies.draw import draw
        from stepmark.records import Run, pace
        from stepmark.types import Cost, Solution

        self.by.check()
        sampling = Sampling(self.temperature, self.top_p, self.top_k, self.max_tokens, seed=self.seed)
        check_request(self.n, sampling)
        chosen = problems.read(self.problems)
        told = self.by.told()
        endpoint = self.by.endpoint if self.by.remote else None
        settings = Settings(told["name"], self.n, sampling, endpoint, told["dtype"])

        async def work(run: Run) -> tuple[list[Solution], float]:
            async with self.by.open() as policy:
                began = time.monotonic()
                drawn = await draw(run, chosen, policy, self.n, sampling)
                return [one for solutions in drawn for one in solutions], time.monotonic() - began

        with Run.open(self.out, settings) as run:
            problems.record(run, chosen)
            before = {(one.problem_id, one.index) for one in run.read("solutions", Solution)}
            drawn, seconds = asyncio.run(work(run))
        new = [one for one in drawn if (one.problem_id, one.index) not in before]
        cut = sum(one.finish != "stop" for one in drawn)
        print(f"{self.out}: {len(drawn):,} solutions of {len(chosen):,} problems, {cut:,} of them cut")
        if new:
            print(f"drawn now: {len(new):,}; {pace(len(new), Cost.total(one.cost for one in new), seconds)}")
        return 0
