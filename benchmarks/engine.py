"""The engine beside `generate` and beside itself, each pair interleaved in one run.

    python -m benchmarks.engine [CASE ...] [--dtype float32] [--repeats 5] [--vllm PYTHON] [--clock cpu] [--small]
        [--problems 64] [--solutions 200] [--processes 2] [--skip-generate]

Prints, for each case, the median seconds of both sides and the median of the paired ratios with its range. Threads are
those of OMP_NUM_THREADS; `--vllm` names the python of an environment with vLLM, which then takes part in `sampling` and
`large`; `--clock cpu` counts processor seconds, for a machine that others use too; `--small` is a smoke run.

sampling  64 Quantities problems x 32 samples of the bundled policy; `generate` in batches of 512 rows
large     a Llama of 100M random parameters: 16 prompts of 200 tokens x 16 samples, 64 new tokens each
rollouts  8 rollouts from each step of 200 solutions, beside `generate` called once for each step (on every 20th)
scoring   hidden states at the step ends of 64 beams x 8 steps: each new step alone, beside the whole at every step
growth    seconds per request and peak memory for 100, 1,000 and 10,000 queued requests
searches  32 beam searches at once, width 16, with the bundled reward model: two engines that take turns
cancel    1,000 searches awaiting at once, a third cancelled at random: survivors compared with searches run alone
"""

import argparse
import asyncio
import json
import os
import random
import re
import resource
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

from stepmark.engine.decoder import Decoder
from stepmark.engine.engine import Engine
from stepmark.engine.processes import spread
from stepmark.engine.samples import Stops
from stepmark.policies import bundled
from stepmark.policies.local import LocalPolicy
from stepmark.precision import device, room
from stepmark.problems import quantities
from stepmark.rewards import bundled as bundled_reward
from stepmark.rewards.local import LocalReward
from stepmark.search.beam import Beam, beam
from stepmark.types import Completion, Cost, Prefix, Problem, Sampling

PEER = """
import json, sys
from vllm import LLM, SamplingParams, TokensPrompt
settings, prompts = json.loads(sys.stdin.readline())
llm = LLM(skip_tokenizer_init=True, enable_prefix_caching=True, **settings.pop("llm"))
params = SamplingParams(detokenize=False, **settings)
print("ready", file=sys.stderr, flush=True)
for _ in sys.stdin:
    llm.reset_prefix_cache()
    drawn = llm.generate([TokensPrompt(prompt_token_ids=ids) for ids in prompts], params, use_tqdm=False)
    print(sum(len(one.token_ids) for several in drawn for one in several.outputs), file=sys.stderr, flush=True)
"""
"""vLLM offline in an environment of its own: a line in, a workload done, a line out. It answers on its standard error,
since vLLM writes to the other."""

Side = Callable[[], int]
"""runs one side once and returns how many tokens it made or read"""


def compare(
    name: str,
    ours: Side,
    theirs: Side,
    options: argparse.Namespace,
    *,
    share: float = 1.0,
    before: Callable[[], None] = lambda: None,
) -> None:
    """`share` is the part of our work that the other side does; `before` is done before each of ours, untimed."""
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    seconds: dict[Side, list[float]] = {ours: [], theirs: []}
    tokens: dict[Side, int] = {}
    for _ in range(options.repeats):
        before()
        for side, spent in seconds.items():
            start = clock()
            tokens[side] = side()
            spent.append(clock() - start)
    ratios = sorted(b / share / a for a, b in zip(seconds[ours], seconds[theirs], strict=True))
    mine, other = statistics.median(seconds[ours]), statistics.median(seconds[theirs])
    print(
        f"{name}, {options.clock} time: engine {mine:.2f} s ({tokens[ours] / mine:,.0f} tokens/s), other {other:.2f} s"
        f" ({tokens[theirs] / other:,.0f} tokens/s) for {share:.0%} of the work;"
        f" ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})",
        flush=True,
    )


def generate(model: Any, prompts: list[list[int]], *, rows: int, pad: int, seed: int, **limits: int) -> list[list[int]]:
    """Samples at temperature 1 from transformers, in left-padded batches; the new tokens up to the end token."""
    torch.manual_seed(seed)
    written: list[list[int]] = []
    for start in range(0, len(prompts), rows):
        batch = prompts[start : start + rows]
        longest = max(map(len, batch))
        ids = torch.tensor([[pad] * (longest - len(prompt)) + prompt for prompt in batch])
        real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in batch])
        with torch.inference_mode():
            out = model.generate(
                ids.to(model.device),
                attention_mask=real.to(model.device),
                do_sample=True,
                top_k=0,
                pad_token_id=pad,
                **limits,
            )
        for row in out[:, longest:].tolist():
            end = row.index(model.config.eos_token_id) + 1 if model.config.eos_token_id in row else len(row)
            written.append(row[:end])
    return written


class Peer:
    """vLLM in a process of its own; call it to run the workload once."""

    def __init__(self, python: str, prompts: list[list[int]], **settings: Any) -> None:
        environment = {"VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "2", "HF_HUB_OFFLINE": "1"}
        environment |= {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_ENABLE_V1_MULTIPROCESSING": "0"}
        self.process = subprocess.Popen(
            [python, "-c", PEER],
            **{"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE},
            env=os.environ | environment,
            text=True,
        )
        self._say(json.dumps([settings, prompts]))
        self._hear("ready")

    def __call__(self) -> int:
        self._say("go")
        return int(self._hear(r"\d+"))

    def close(self) -> None:
        self.process.communicate()

    def _say(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def _hear(self, pattern: str) -> str:
        """The next line that is all `pattern`; others are warnings."""
        assert self.process.stderr is not None
        heard = []
        for line in self.process.stderr:
            heard.append(line)
            if re.fullmatch(pattern, line.strip()):
                return line
        raise RuntimeError("vLLM ended:\n" + "".join(heard[-20:]))


def gather(calls: list[Coroutine[Any, Any, Any]]) -> list[Any]:
    async def run() -> list[Any]:
        return await asyncio.gather(*calls)

    return asyncio.run(run())


def problems(count: int) -> list[Problem]:
    return [quantities.problem("test", 0, index, 1 + index % 6) for index in range(count)]


def bundled_pair(dtype: str) -> tuple[Any, Callable[[], LocalPolicy]]:
    """The model for `generate` and a maker of policies with an empty cache."""
    model = AutoModelForCausalLM.from_pretrained(bundled.PATH, dtype=dtype).to(device()).eval()
    tokenizer = AutoTokenizer.from_pretrained(bundled.PATH)
    rows, memory = room(device())
    return model, lambda: LocalPolicy(model, tokenizer, rows=rows, memory=memory)


def tokens_of(samples: list[list[Completion]]) -> int:
    return sum(len(completion.token_ids) for several in samples for completion in several)


def distinct(samples: list[list[Completion]]) -> int:
    """Tokens, counted once where samples of a request begin alike."""
    return sum(
        len({one.token_ids[: end + 1] for one in several for end in range(len(one.token_ids))}) for several in samples
    )


def sampling(options: argparse.Namespace) -> None:
    model, policy = bundled_pair(options.dtype)
    rows, memory = room(device())
    prefixes = [Prefix(problem) for problem in problems(4 if options.small else options.problems)]
    prompts = [policy().encode(prefix) for prefix in prefixes for _ in range(32)]
    settings = Sampling(max_tokens=256)
    load = partial(LocalPolicy.load, bundled.PATH, dtype=options.dtype)
    fresh: Any = policy()

    def start() -> None:
        """A policy that knows none of the prompts, but has drawn something, as vLLM has once it is ready."""
        nonlocal fresh
        fresh.close()
        fresh = policy() if options.processes == 1 else spread(load, options.processes, memory=memory)
        others = [Prefix(quantities.problem("test", 3, i, 6)) for i in range(options.processes)]
        gather([fresh.sample(prefix, 32, settings) for prefix in others])

    def samples() -> list[list[Completion]]:
        return gather([fresh.sample(prefix, 32, settings) for prefix in prefixes])

    def ours() -> int:
        return tokens_of(samples())

    drawn = samples()
    print(f"sampling: {tokens_of(drawn):,} tokens are drawn, {distinct(drawn):,} of them after different texts")

    def theirs() -> int:
        return sum(map(len, generate(model, prompts, rows=512, pad=0, seed=0, max_new_tokens=256)))

    name = f"sampling {options.dtype}, {len(prefixes)} problems, processes: {options.processes}"
    if not options.skip_generate:
        compare(f"{name}, beside generate", ours, theirs, options, before=start)
    if options.vllm:
        llm = {"model": str(bundled.PATH), "dtype": options.dtype, "max_num_seqs": rows, "max_model_len": 512}
        peer = Peer(options.vllm, prompts[::32], llm=llm, n=32, temperature=1.0, max_tokens=256)
        compare(f"{name}, beside vLLM", ours, peer, options, before=start)
        peer.close()
    fresh.close()


def large(options: argparse.Namespace) -> None:
    torch.manual_seed(0)
    config = LlamaConfig(
        **{"vocab_size": 16384, "hidden_size": 768, "intermediate_size": 2048, "num_hidden_layers": 12},
        **{"num_attention_heads": 12, "max_position_embeddings": 1024, "tie_word_embeddings": True},
        **{"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0},
    )
    model = LlamaForCausalLM(config).to(device(), getattr(torch, options.dtype)).eval()
    print(f"large: {model.num_parameters() / 1e6:.0f}M parameters")
    count, new = (2, 4) if options.small else (16, 64)
    prompts = [torch.randint(3, 16384, (200,)).tolist() for _ in range(count)]
    weight = model.lm_head.weight.detach()
    never = Stops(*np.zeros((3, len(weight)), bool))
    settings = Sampling(max_tokens=new)

    def ours() -> int:
        engine = Engine(Decoder(model.model), weight, never)
        drawn = gather([engine.sample(prompt, 16, settings) for prompt in prompts])
        return sum(len(sample.token_ids) for several in drawn for sample in several)

    def theirs() -> int:
        rows = [prompt for prompt in prompts for _ in range(16)]
        return sum(map(len, generate(model, rows, rows=256, pad=0, seed=0, max_new_tokens=new, min_new_tokens=new)))

    compare(f"large {options.dtype}, beside generate", ours, theirs, options)
    if options.vllm:
        with tempfile.TemporaryDirectory() as path:
            model.save_pretrained(path)
            llm = {"model": path, "dtype": options.dtype, "max_num_seqs": 256, "max_model_len": 512}
            peer = Peer(options.vllm, prompts, llm=llm, n=16, temperature=1.0, max_tokens=new, ignore_eos=True)
        compare(f"large {options.dtype}, beside vLLM", ours, peer, options)
        peer.close()


def rollouts(options: argparse.Namespace) -> None:
    model, policy = bundled_pair(options.dtype)
    fresh = policy()
    solved = gather(
        [fresh.sample(Prefix(p), 1, Sampling(seed=7)) for p in problems(20 if options.small else options.solutions)]
    )
    prefixes: list[Prefix] = []
    for problem, (solution,) in zip(problems(len(solved)), solved, strict=True):
        ends = [i + 1 for i, token in enumerate(solution.token_ids) if fresh.stops.newline[token]]
        prefixes += [
            Prefix(problem, solution.steps[:count], solution.token_ids[:end]) for count, end in enumerate(ends[:-1], 1)
        ]
    looped = [fresh.encode(prefix) for prefix in prefixes[::20]]

    def ours() -> int:
        engine = policy()
        return tokens_of(gather([engine.sample(prefix, 8, Sampling(seed=1)) for prefix in prefixes]))

    def theirs() -> int:
        return sum(
            len(ids)
            for prompt in looped
            for ids in generate(model, [prompt] * 8, rows=8, pad=0, seed=1, max_new_tokens=256)
        )

    print(f"rollouts: {len(prefixes)} steps")
    compare(f"rollouts {options.dtype}", ours, theirs, options, share=len(looped) / len(prefixes))


def scoring(options: argparse.Namespace) -> None:
    model, policy = bundled_pair(options.dtype)
    beams, steps = (8, 3) if options.small else (64, 8)
    generator = torch.Generator().manual_seed(0)
    question = policy().encode(Prefix(problems(6)[-1]))
    tails = torch.randint(300, 380, (beams, steps * 10), generator=generator).tolist()

    async def grow() -> None:
        engine = Engine(Decoder(model.model))
        for end in range(10, steps * 10 + 1, 10):
            sequences = [question + tail[:end] for tail in tails]
            await asyncio.gather(*(engine.read(sequence, [len(sequence) - 1]) for sequence in sequences))
        engine.close()

    def ours() -> int:
        asyncio.run(grow())
        return beams * (len(question) + steps * 10)

    def theirs() -> int:
        for end in range(10, steps * 10 + 1, 10):
            with torch.inference_mode():
                model.model(
                    torch.tensor([question + tail[:end] for tail in tails], device=model.device), use_cache=False
                )
        return beams * (len(question) + steps * 10)

    compare(f"scoring {options.dtype}, question of {len(question)} tokens", ours, theirs, options)


def growth(options: argparse.Namespace) -> None:
    _, policy = bundled_pair(options.dtype)
    for count in (10, 100) if options.small else (100, 1000, 10000):
        fresh = policy()
        prefixes = [Prefix(quantities.problem("test", 1, index, 3)) for index in range(count)]
        start = time.perf_counter()
        gather([fresh.sample(prefix, 1, Sampling(max_tokens=16)) for prefix in prefixes])
        seconds = time.perf_counter() - start
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(f"growth: {count} requests, {1000 * seconds / count:.2f} ms each, peak {peak:,.0f} MB", flush=True)


def searches(options: argparse.Namespace) -> None:
    _, policy = bundled_pair(options.dtype)
    wanted = problems(4 if options.small else 32)
    for _ in range(options.repeats):
        fresh, reward = policy(), LocalReward.load(bundled_reward.PATH, dtype=options.dtype)
        start = time.perf_counter()
        found = gather([beam(problem, fresh, reward, Beam(n=16, max_tokens=256)) for problem in wanted])
        seconds = time.perf_counter() - start
        cost, scored = Cost.total(one.cost for one in found), sum(one.scoring.scored for one in found)
        print(f"search: {seconds:.2f} s, {cost.generated:,} tokens generated, {scored:,} scored", flush=True)
        fresh.close()
        reward.close()


async def search(policy: LocalPolicy, problem: Problem, seed: int) -> tuple[str, ...]:
    """Three steps, each the likeliest of four."""
    prefix = Prefix(problem)
    for _ in range(3):
        drawn = await policy.sample(prefix, 4, Sampling(stop="step", seed=seed, max_tokens=40))
        best = max(drawn, key=lambda completion: sum(completion.logprobs))
        if best.finish != "step":
            break
        prefix = Prefix(problem, prefix.steps + best.steps, (prefix.token_ids or ()) + best.token_ids)
    return prefix.steps


def cancel(options: argparse.Namespace) -> None:
    _, policy = bundled_pair("float32")
    count = 60 if options.small else 1000
    wanted = [quantities.problem("test", 2, index, 1 + index % 6) for index in range(count)]
    fresh, rng = policy(), random.Random(0)
    victims = set(rng.sample(range(count), count // 3))

    async def run() -> list[Any]:
        tasks = [asyncio.create_task(search(fresh, problem, seed=i)) for i, problem in enumerate(wanted)]
        for victim in rng.sample(sorted(victims), len(victims)):
            await asyncio.sleep(rng.random() * 0.02)
            tasks[victim].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    results = asyncio.run(run())
    rows = fresh.engine.rows
    lost = sum(isinstance(result, asyncio.CancelledError) for result in results)
    checked = [i for i in range(count) if i not in victims][:: 1 if options.small else 10]
    wrong = sum(asyncio.run(search(policy(), wanted[i], seed=i)) != results[i] for i in checked)
    print(
        f"cancel: {count} searches, {lost} cancelled, {wrong} of {len(checked)} survivors differ from a search alone;"
        f" left behind: {rows.count} rows, {rows.blocks.count} blocks, {rows.trunks.count} trunks"
    )


CASES = {case.__name__: case for case in (sampling, large, rollouts, scoring, searches, growth, cancel)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", metavar="case", help=", ".join(CASES))
    parser.add_argument("--dtype", choices=["bfloat16", "float32"], default="float32")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--problems", type=int, default=64, help="of sampling")
    parser.add_argument("--solutions", type=int, default=200, help="of rollouts")
    parser.add_argument("--processes", type=int, default=1, help="of the engine, in sampling")
    parser.add_argument("--vllm", metavar="PYTHON")
    parser.add_argument("--skip-generate", action="store_true", help="in sampling: it takes minutes for 64 problems")
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    for case in options.cases or CASES:
        if case not in CASES:
            parser.error(f"there is no case {case!r}")
        CASES[case](options)


if __name__ == "__main__":
    main()
