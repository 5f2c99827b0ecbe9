"""`stepmark sample`: solutions of problems, on record."""

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from stepmark.errors import InputError
from stepmark.types import Sampling

if TYPE_CHECKING:
    from stepmark.policies.base import Policy
    from stepmark.records import Run
    from stepmark.types import Problem

BUNDLED = "bundled"


@dataclass(frozen=True)
class Endpoint:
    """What a server is asked, with --policy URL."""

    model: str | None = None
    """the name by which the server knows the model"""
    server: Literal["openai", "vllm", "vllm-chat", "transformers"] = "openai"
    """which server it is. openai: any that keeps to the protocol; vllm: exact ids, log-probabilities and step ends;
    vllm-chat: vLLM behind a gateway that passes chat alone; transformers: `transformers serve`"""
    chat: bool = False
    """ask for chat completions, by the model's chat template"""
    system: str | None = None
    """the chat's system message"""
    prompt: str | None = None
    """the prompt, with {question} in it; a question and a newline by default, in a chat the question"""


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
    policy: Annotated[str, tyro.conf.arg(metavar="DIR|URL|bundled")] = BUNDLED
    """who writes"""
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
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """of a model directory; auto is the one it was saved in, but float32 where the CPU would emulate bfloat16"""
    at_once: int = 64
    """requests to a server in flight at most"""
    key_variable: str = "OPENAI_API_KEY"
    """the environment variable that holds the server's key, where it wants one"""
    endpoint: Endpoint = field(default_factory=Endpoint)

    def run(self) -> int:
        import asyncio
        import time

        from stepmark import problems
        from stepmark.policies.base import check_request
        from stepmark.policies.draw import draw
        from stepmark.records import Run, pace
        from stepmark.types import Cost, Solution

        remote = self.policy.startswith(("http://", "https://"))
        if remote != (self.endpoint.model is not None):
            raise InputError(
                "a server and a model's name go together", remedy="give --policy URL and --model, or neither"
            )
        if self.endpoint.prompt is not None and "{question}" not in self.endpoint.prompt:
            raise InputError("the prompt has no question", remedy="put {question} where it belongs")
        sampling = Sampling(self.temperature, self.top_p, self.top_k, self.max_tokens, seed=self.seed)
        check_request(self.n, sampling)
        chosen = problems.read(self.problems)
        if remote:
            settings = Settings("server", self.n, sampling, self.endpoint, None)
        elif self.policy == BUNDLED:
            settings = Settings(BUNDLED, self.n, sampling, None, None)
        else:
            settings = Settings(str(Path(self.policy).resolve()), self.n, sampling, None, self.dtype)

        async def work(run: Run) -> tuple[list[Solution], float]:
            async with self._policy(remote) as policy:
                began = time.monotonic()
                drawn = await draw(run, chosen, policy, self.n, sampling)
                return [one for solutions in drawn for one in solutions], time.monotonic() - began

        with Run.open(self.out, settings) as run:
            _record(run, chosen)
            before = {(one.problem_id, one.index) for one in run.read("solutions", Solution)}
            drawn, seconds = asyncio.run(work(run))
        new = [one for one in drawn if (one.problem_id, one.index) not in before]
        cut = sum(one.finish != "stop" for one in drawn)
        print(f"{self.out}: {len(drawn):,} solutions of {len(chosen):,} problems, {cut:,} of them cut")
        if new:
            print(f"drawn now: {len(new):,}; {pace(len(new), Cost.total(one.cost for one in new), seconds)}")
        return 0

    @asynccontextmanager
    async def _policy(self, remote: bool) -> "AsyncIterator[Policy]":
        if remote:
            from stepmark.policies.client import Client
            from stepmark.policies.endpoint import SERVERS, EndpointPolicy

            asked = self.endpoint
            assert asked.model is not None
            key = os.environ.get(self.key_variable)
            async with EndpointPolicy(
                Client(self.policy, key=key, at_once=self.at_once),
                asked.model,
                server=SERVERS[asked.server],
                chat=asked.chat,
                system=asked.system,
                prompt=None if asked.prompt is None else self._prompt,
            ) as policy:
                yield policy
            return
        from stepmark.policies import bundled
        from stepmark.policies.local import LocalPolicy

        here = bundled.load() if self.policy == BUNDLED else LocalPolicy.load(self.policy, dtype=self.dtype)
        try:
            yield here
        finally:
            here.close()

    def _prompt(self, problem: "Problem") -> str:
        assert self.endpoint.prompt is not None
        return self.endpoint.prompt.replace("\\n", "\n").replace("{question}", problem.question)


def _record(run: "Run", chosen: "Sequence[Problem]") -> None:
    """The run's own copy of the problems: whoever reads it needs nothing else. Raises InputError where a problem on
    record has another question or gold now: its solutions on record would be those of another problem."""
    from stepmark.types import Problem

    known = {one.id: one for one in run.read("problems", Problem)}
    for problem in chosen:
        was = known.get(problem.id, problem)
        if (was.question, was.gold) != (problem.question, problem.gold):
            raise InputError(
                f"problem {problem.id!r} is not the one that the run has solutions of",
                path=run.file("problems"),
                remedy="give the problems that the run was created with, or another directory",
            )
    for problem in chosen:
        if problem.id not in known:
            run.append("problems", problem)
