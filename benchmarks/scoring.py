"""Scoring a pool of real candidates beside a loop that takes them as they come.

    python -m benchmarks.scoring [--candidates 16000] [--parameters 100] [--repeats 3] [--clock cpu] [--small]

The pool is GSM8K's (`bon_pool_gsm8k` of the data folder): 500 problems x 32 solutions, the first `--candidates` of
them. The model is a Llama of 100M random parameters with a linear head, in float32. The other side tokenises each
solution alone and runs the model on every 16 as they come, padded to the longest. Prints seconds, tokens per second and
the ratio, interleaved in one run, and the largest difference of a score: the sides must agree to float32's rounding.

Also prints how many tokens the model computes on each side. Their ratio bounds what can be gained where arithmetic is
all that costs: it comes from padding, and from the question and first steps that candidates share (1.8 on this pool).
`--small` is a smoke run on 64 candidates and a model of a million parameters.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from itertools import islice
from pathlib import Path

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from stepmark.formats.candidates import read_candidates
from stepmark.policies import bundled
from stepmark.rewards.examples import Encoder, Layout
from stepmark.rewards.local import LocalReward
from stepmark.rewards.model import Spec, build, load, save
from stepmark.types import Prefix

BATCH = 16


def model(path: Path, width: int, layers: int) -> None:
    """A reward model of random weights; the tokenizer is the bundled policy's, of short tokens."""
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(bundled.PATH)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=width // 64,
        num_key_value_heads=width // 64,
        max_position_embeddings=4096,
    )
    spec = Spec("prm", "linear", Layout(4096), " +", " -", "product", "none", "0", {"seed": 0})
    lm = LlamaForCausalLM(config)
    print(f"{sum(weight.numel() for weight in lm.model.layers.parameters()) / 1e6:.1f}M parameters in {layers} layers")
    save(build(lm, tokenizer, spec), tokenizer, spec, path)


def prefixes(count: int) -> list[Prefix]:
    path = Path(__file__).parents[2] / "shared" / "data" / "bon_pool_gsm8k"
    pool = read_candidates(next(path.glob("candidates*")))
    every = (
        Prefix(one.problem, candidate.steps, None) for one in pool for candidate in one.candidates if candidate.steps
    )
    return list(islice(every, count))


def ours(path: Path, pool: list[Prefix]) -> tuple[list[tuple[float, ...]], int]:
    async def together() -> tuple[list[tuple[float, ...]], int]:
        reward = LocalReward.load(path)
        scored = await asyncio.gather(*map(reward.score, pool))
        reward.close()
        return [one.scores for one in scored], sum(one.cost.scored for one in scored)

    return asyncio.run(together())


def theirs(path: Path, pool: list[Prefix]) -> tuple[list[tuple[float, ...]], int]:
    net, tokenizer, spec = load(path)
    found: list[tuple[float, ...]] = []
    tokens = 0
    for first in range(0, len(pool), BATCH):
        encoder = Encoder(tokenizer, spec.layout)
        batch = [encoder.encode(prefix.problem, prefix.steps) for prefix in pool[first : first + BATCH]]
        ids_B_T = pad_sequence([torch.tensor(one.ids_T) for one in batch], batch_first=True)
        with torch.inference_mode():
            logits_B_T = net.head(net.lm.base_model(ids_B_T, use_cache=False).last_hidden_state)[..., 0]
            for row, one in enumerate(batch):
                found.append(tuple(logits_B_T[row, list(one.judged_S)].double().sigmoid().tolist()))
            tokens += ids_B_T.numel()
    return found, tokens


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=16_000)
    parser.add_argument("--parameters", type=int, default=100, help="millions")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--small", action="store_true")
    options = parser.parse_args()
    count = 64 if options.small else options.candidates
    width, layers = (128, 4) if options.small else (768, max(1, round(options.parameters / 9.44)))
    clock = time.process_time if options.clock == "cpu" else time.perf_counter
    pool = prefixes(count)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "reward"
        model(path, width, layers)
        seconds: dict[str, list[float]] = {"stepmark": [], "loop": []}
        scores, tokens = {}, {}
        for _ in range(1 if options.small else options.repeats):
            for name, side in (("stepmark", ours), ("loop", theirs)):
                start = clock()
                scores[name], tokens[name] = side(path, pool)
                seconds[name].append(clock() - start)
    ratios = sorted(other / mine for mine, other in zip(seconds["stepmark"], seconds["loop"], strict=True))
    worst = max(
        abs(a - b)
        for one, other in zip(scores["stepmark"], scores["loop"], strict=True)
        for a, b in zip(one, other, strict=True)
    )
    for name, spent in seconds.items():
        median = statistics.median(spent)
        speed = f"{tokens[name] / median:,.0f} tokens/s, {len(pool) / median:,.1f} candidates/s"
        print(f"{name}: {median:.2f} s, {tokens[name]:,} tokens computed, {speed}")
    print(f"ratio {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f}), {options.clock} time")
    print(f"ratio of the tokens computed: {tokens['loop'] / tokens['stepmark']:.2f}")
    print(f"largest difference of a score: {worst:.1e}")


if __name__ == "__main__":
    main()
