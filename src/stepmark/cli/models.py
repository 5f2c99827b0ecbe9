"""Who writes and who scores: the options that verbs share, and what they open."""

import os
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from stepmark.errors import InputError

if TYPE_CHECKING:
    from stepmark.budget.flops import ModelSize
    from stepmark.engine.processes import Processes
    from stepmark.policies.base import Policy
    from stepmark.precision import Dtype
    from stepmark.rewards.aggregate import Aggregation
    from stepmark.rewards.base import RewardModel
    from stepmark.rewards.critic import GenerativeReward
    from stepmark.rewards.families import Description
    from stepmark.rewards.families.outcome import OutcomeReward
    from stepmark.rewards.local import LocalReward
    from stepmark.types import Problem

BUNDLED = "bundled"
CRITIC = "critic"
ORACLES = ("oracle", "noisy")


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
class PolicyOptions:
    """Who writes: a model directory, the address of a server, or the model that comes with stepmark."""

    policy: Annotated[str, tyro.conf.arg(metavar="DIR|URL|bundled")] = BUNDLED
    """who writes"""
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    """of a model directory; auto is the one it was saved in, but float32 where the CPU would emulate bfloat16"""
    processes: int = 1
    """that compute, each with a copy of the models and its share of processor and memory: for a small model on a CPU
    much faster than threads; as many as there are cores, say"""
    at_once: int = 64
    """requests to a server in flight at most"""
    key_variable: str = "OPENAI_API_KEY"
    """the environment variable that holds the server's key, where it wants one"""
    endpoint: Annotated[Endpoint, tyro.conf.arg(name="")] = field(default_factory=Endpoint)

    @property
    def remote(self) -> bool:
        return self.policy.startswith(("http://", "https://"))

    def check(self) -> None:
        """Raises InputError for options that do not go together."""
        if self.remote != (self.endpoint.model is not None):
            raise InputError(
                "a server and a model's name go together", remedy="give --policy URL and --model, or neither"
            )
        if self.processes != 1 and self.remote:
            raise InputError("a server has processes of its own", remedy="leave --processes out")
        if self.endpoint.prompt is not None and "{question}" not in self.endpoint.prompt:
            raise InputError("the prompt has no question", remedy="put {question} where it belongs")

    def told(self) -> dict[str, Any]:
        """What samples depend on, for a manifest. A server may have moved meanwhile."""
        if self.remote:
            return {"name": "server", "endpoint": asdict(self.endpoint), "dtype": None}
        if self.policy == BUNDLED:
            return {"name": BUNDLED, "endpoint": None, "dtype": None}
        return {"name": str(Path(self.policy).resolve()), "endpoint": None, "dtype": self.dtype}

    def size(self, of_server: Path | None) -> "ModelSize | None":
        """The model's sizes; of one behind a server those in the directory `of_server`, or None."""
        from stepmark.budget.flops import ModelSize
        from stepmark.policies import bundled

        where = of_server if self.remote else bundled.PATH if self.policy == BUNDLED else Path(self.policy)
        return None if where is None else ModelSize.read(where)

    @asynccontextmanager
    async def open(self) -> "AsyncIterator[Policy]":
        if self.remote:
            from stepmark.policies.client import Client
            from stepmark.policies.endpoint import SERVERS, EndpointPolicy

            asked = self.endpoint
            assert asked.model is not None
            async with EndpointPolicy(
                Client(self.policy, key=os.environ.get(self.key_variable), at_once=self.at_once),
                asked.model,
                server=SERVERS[asked.server],
                chat=asked.chat,
                system=asked.system,
                prompt=None if asked.prompt is None else self._prompt,
            ) as policy:
                yield policy
            return
        from stepmark.engine.processes import spread
        from stepmark.policies import bundled
        from stepmark.policies.local import LocalPolicy
        from stepmark.precision import device, room

        load = bundled.load if self.policy == BUNDLED else partial(LocalPolicy.load, self.policy, dtype=self.dtype)
        here = spread(load, self.processes, memory=room(device())[1])
        try:
            yield here
        finally:
            here.close()

    def _prompt(self, problem: "Problem") -> str:
        prompt = line_ends(self.endpoint.prompt)
        assert prompt is not None
        return prompt.replace("{question}", problem.question)


@dataclass(frozen=True)
class RewardOptions:
    """Who scores: a reward model's directory, the one that comes with stepmark, or for Quantities problems the oracle,
    exact or made unreliable."""

    reward: Annotated[str | None, tyro.conf.arg(metavar="DIR|bundled|oracle|noisy")] = None
    """who scores steps. DIR: one that `stepmark train` wrote, or a published one; bundled: for Quantities problems, as
    the bundled policy; oracle: exact, for Quantities problems; noisy: the oracle, blurred"""
    family: str | None = None
    """how a published reward model is read, where its files do not tell (see stepmark score)"""
    separator: str | None = None
    r"""of the steps, for reward models that were trained with different ones (trl, pure); \n stands for a line end"""
    reward_dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where the processor has units for it, and scores differ by some .001"""
    noise: float = 1.0
    """of the noisy oracle: standard deviation of the logits' noise"""
    noise_seed: int = 0
    """of the noisy oracle: another seed is another judge"""

    @property
    def path(self) -> Path | None:
        """The reward model's directory; None where there is no model."""
        return None if self.reward is None or self.reward in ORACLES else reward_path(self.reward)

    def told(self) -> dict[str, Any] | None:
        """What scores depend on, for a manifest."""
        if self.reward is None:
            return None
        if self.reward == "oracle":
            return {"name": "oracle"}
        if self.reward == "noisy":
            return {"name": "noisy", "noise": self.noise, "seed": self.noise_seed}
        what = {"family": self.family, "separator": self.separator, "dtype": self.reward_dtype}
        return {"name": self.reward if self.reward == BUNDLED else str(Path(self.reward).resolve()), **what}

    def size(self) -> "ModelSize | None":
        """The reward model's sizes; None where it is none, or costs nothing."""
        from stepmark.budget.flops import ModelSize

        return None if self.path is None else ModelSize.read(self.path)

    def aggregate(self) -> "Aggregation | None":
        """How a reward model's step scores are combined: what it was trained for, or what its authors use. Raises
        InputError where its files do not tell how it is read."""
        return None if self.path is None else self._read_as().describe(self.path).aggregate

    def _read_as(self, processes: int = 1) -> "ReadAs":
        return ReadAs(self.family, self.separator, self.reward_dtype, processes)

    @contextmanager
    def open(self, problems: "Sequence[Problem]", processes: int = 1) -> "Iterator[RewardModel | None]":
        """Raises InputError where the oracle does not know a problem."""
        if self.path is None:
            yield self._oracle(problems) if self.reward else None
            return
        reward = self._read_as(processes).load(self.path)
        try:
            yield reward
        finally:
            reward.close()

    def _oracle(self, problems: "Sequence[Problem]") -> "RewardModel":
        from stepmark.problems import quantities
        from stepmark.rewards.base import NoisyReward, OracleReward

        for problem in problems:
            try:
                quantities.situation(problem.question)
            except InputError:
                raise InputError(
                    f"the oracle knows Quantities problems alone, and {problem.id!r} is none",
                    remedy="give the directory of a reward model",
                ) from None
        oracle = OracleReward(quantities.rate, neutral=1.0)
        return oracle if self.reward == "oracle" else NoisyReward(oracle, noise=self.noise, seed=self.noise_seed)


def line_ends(text: str | None) -> str | None:
    r"""A text of the command line, where \n stands for a line end."""
    return None if text is None else text.replace("\\n", "\n")


def reward_path(reward: str | Path) -> Path:
    """The directory of the reward model that is called so."""
    if str(reward) != BUNDLED:
        return Path(reward)
    from stepmark.rewards import bundled

    return bundled.PATH


@dataclass(frozen=True)
class ReadAs:
    """How a reward model's directory is read."""

    family: str | None = None
    """how a published model is read: math-shepherd, rlhflow, skywork-o1, qwen-math-prm, er-prm, pqm, llemma, trl, pure,
    reasoneval-7b, reasoneval-34b, qwen-math-rm, sequence-classifier; or critic: a language model that writes a
    judgement of each step, as GenPRM and ThinkPRM do"""
    separator: str | None = None
    r"""what parts the steps, for models that were trained with different ones (trl, pure); \n stands for a line end"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where the processor has units for it, and scores differ by some .001"""
    processes: int = 1
    """that compute, each with a copy of the model and its share of processor and memory: for a small model on a CPU
    much faster than threads; as many as there are cores, say"""
    votes: int = 1
    """of a critic: judgements of each step, of which the share that finds it right is the score"""
    question: Path | None = None
    r"""of a critic: a file with what it is asked, in which {question}, {steps}, {step} and {number} are replaced; its
    judgement ends with \boxed{Yes} or \boxed{No}. By default a plain question"""

    def describe(self, path: Path) -> "Description":
        from stepmark.rewards.families import Description

        if self.family == CRITIC:
            told = f"{path}: read, as told, as critic: the share of {self.votes} judgements that find the step right"
            return Description(f"{told}; use: min", "min", 0.5)
        return _described(path, self.family, line_ends(self.separator))

    def asked(self) -> str | None:
        """The text of the file with a critic's question."""
        if self.question is None:
            return None
        try:
            return self.question.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot be read: {error}", path=self.question, remedy="give a text file") from error

    def load(self, path: Path) -> "LocalReward | OutcomeReward | GenerativeReward | Processes":
        """The reward model in a directory; prints how it is read."""
        from stepmark.engine.processes import spread
        from stepmark.rewards.local import MEMORY

        print(self.describe(path).told)
        if self.family == CRITIC:
            critic = partial(_critic, path, self.votes, self.asked(), self.dtype)
            return spread(critic, self.processes, memory=4 * MEMORY)
        load = partial(_reward, path, self.family, line_ends(self.separator), self.dtype)
        return spread(load, self.processes, memory=MEMORY)


@cache
def _described(path: Path, family: str | None, separator: str | None) -> "Description":
    """Read once for all that a command asks of it: a published model's tokenizer and config are."""
    from stepmark.rewards.families import describe

    return describe(path, family, separator=separator)


def _critic(path: Path, votes: int, asked: str | None, dtype: "Dtype", *, memory: int) -> "GenerativeReward":
    """A model directory that judges by its chat template, where it has one."""
    from stepmark.policies.local import LocalPolicy
    from stepmark.rewards.critic import GenerativeReward, Judgement

    policy = LocalPolicy.load(path, dtype=dtype, memory=memory)
    if policy.tokenizer.chat_template:

        def chat(problem: "Problem") -> list[int]:
            said = [{"role": "user", "content": problem.question}]
            ids = policy.tokenizer.apply_chat_template(said, add_generation_prompt=True, return_dict=False)
            return list(ids)

        policy.prompt = chat
    plain = Judgement(votes=votes)
    return GenerativeReward(policy, plain if asked is None else replace(plain, template=asked))


def _reward(
    path: Path, family: str | None, separator: str | None, dtype: "Dtype", *, memory: int
) -> "LocalReward | OutcomeReward":
    from stepmark.rewards.families import load

    return load(path, family, separator=separator, dtype=dtype, memory=memory).reward
