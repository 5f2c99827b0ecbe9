"""Process supervision beside two kinds of outcome supervision, on the same solutions (Let's Verify Step by Step, arXiv
2305.20050, section 4 and figure 4a).

    python -m recipes.three_supervisions --out runs/three --problems 500 --solutions 64 --tests 500

- process: every step's label, up to the first wrong one;
- outcome by the labeller: whether every step is right, so that a lucky answer counts for nothing;
- outcome by the answer: whether the grader accepts it.

The labeller is the exact oracle of Quantities, or a reward model (`--labeller DIR`), for which a step is wrong where
its score is below .8, as the paper takes P(negative) above 20 % of a model that leans to the positive. For 1, 2, 4, ...
solutions per problem and several seeds, which choose the solutions and train the models, it prints the accuracy of
best-of-N on fresh problems, the mean over the seeds, with 95 % intervals over problems, and the paired differences. To
expect, by the paper: process above outcome by the labeller above outcome by the answer, at every number of solutions.
"""

import asyncio
import json
import multiprocessing
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from stepmark.evaluate.estimators import best_of_n
from stepmark.evaluate.intervals import Bootstrap, Floats, accuracy_interval, interval, resample
from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.draw import draw
from stepmark.precision import bfloat16_is_fast, device
from stepmark.problems import quantities
from stepmark.records import Run, replacing
from stepmark.rewards.aggregate import Aggregation, sort_key
from stepmark.rewards.base import RewardModel
from stepmark.rewards.examples import Example, Kind
from stepmark.rewards.families import load
from stepmark.rewards.judge import Pool
from stepmark.rewards.local import LocalReward
from stepmark.rewards.settings import Head, Train
from stepmark.rewards.train import train
from stepmark.types import Prefix, Problem, Sampling, Solution

Supervision = Literal["process", "outcome by the labeller", "outcome by the answer"]
SUPERVISIONS: tuple[Supervision, ...] = ("process", "outcome by the labeller", "outcome by the answer")
RIGHT = 0.8
"""the least score of a right step by a reward model as labeller"""


@dataclass(frozen=True)
class ThreeSupervisions:
    """Process and outcome supervision on the same solutions: best-of-N against the number of solutions per problem."""

    out: Path
    """the run's directory; run again after an interruption, it goes on"""
    labeller: Path | None = None
    """directory of the reward model that labels (by default the exact oracle does)"""
    problems: int = 200
    """training problems"""
    solutions: int = 8
    """most solutions per training problem; the curve has 1, 2, 4, ... up to it"""
    tests: int = 100
    """fresh problems"""
    candidates: int = 64
    """the N of best-of-N"""
    seeds: int = 3
    workers: int = 1
    """reward models trained at once, each in a process of its own: several keep a GPU busy"""
    head: Head = "likelihood"
    """of all reward models"""
    epochs: int = 2
    learning_rate: float = 5e-4
    max_tokens: int = 256
    """of a solution"""


@dataclass(frozen=True)
class Job:
    """A reward model to be trained, and to choose among the fresh candidates."""

    path: Path
    kind: Kind
    examples: list[Example]
    how: Train
    fresh: Pool


async def run(args: ThreeSupervisions) -> dict[str, Floats]:
    """Correctness [problem, number of solutions] of the chosen candidates, the mean over seeds, by supervision."""
    policy = bundled.load()
    sampling = Sampling(max_tokens=args.max_tokens)
    training = list(quantities.generate("train", args.problems, seed=2_000))
    tests = list(quantities.generate("test", args.tests))
    with Run.open(args.out, replace(args, workers=1)) as record:
        drawn = await draw(record, training, policy, args.solutions, sampling)
        candidates = await draw(record, tests, policy, args.candidates, sampling, name="candidates")
        policy.close()
        fresh = list(zip(tests, candidates, strict=True))
        pool = [
            (problem, [s for s in solutions if s.finish == "stop"])
            for problem, solutions in zip(training, drawn, strict=True)
        ]
        examples = await labelled(pool, args.labeller)
        keys = [(s, size, seed) for size in sizes(args.solutions) for s in SUPERVISIONS for seed in range(args.seeds)]
        jobs = [job(examples, key, args, fresh) for key in keys]
        with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as workers:
            found = {}
            for key, correct_P in zip(keys, workers.map(correctness, jobs), strict=True):
                found[key] = np.array(correct_P)
                print(f"{key[0]}, {key[1]} solutions, seed {key[2]}: {found[key].mean():.4f}", flush=True)
    return {
        supervision: np.stack(
            [
                np.mean([found[supervision, size, seed] for seed in range(args.seeds)], axis=0)
                for size in sizes(args.solutions)
            ],
            axis=1,
        )
        for supervision in SUPERVISIONS
    }


def sizes(most: int) -> list[int]:
    """1, 2, 4, ... and `most`."""
    return [2**k for k in range(most.bit_length()) if 2**k < most] + [most]


async def labelled(pool: Pool, labeller: Path | None) -> list[list[dict[Supervision, Example]]]:
    """The examples of every finished solution, by problem: the same solution under each supervision."""
    reward = None if labeller is None else load(labeller).reward

    async def one(problem: Problem, solution: Solution) -> dict[Supervision, Example]:
        right = await right_steps(problem, solution, reward)
        targets = tuple(map(float, right))
        by_answer = float(grade(problem, solution.answer).correct)  # whole numbers: none is ungraded
        return {
            "process": Example(problem, solution.steps, targets=targets),
            "outcome by the labeller": Example(problem, solution.steps, outcome=float(all(right))),
            "outcome by the answer": Example(problem, solution.steps, outcome=by_answer),
        }

    return [list(await asyncio.gather(*(one(problem, s) for s in solutions))) for problem, solutions in pool]


async def right_steps(problem: Problem, solution: Solution, reward: RewardModel | None) -> list[bool]:
    if reward is None:
        return [rating >= 0 for rating in quantities.rate(problem, solution.steps)]
    return [score >= RIGHT for score in (await reward.score(Prefix(problem, solution.steps, None))).scores]


def job(
    examples: list[list[dict[Supervision, Example]]],
    key: tuple[Supervision, int, int],
    args: ThreeSupervisions,
    fresh: Pool,
) -> Job:
    """A reward model of `size` solutions per problem, which depend on the seed alone, not on the supervision."""
    supervision, size, seed = key
    return Job(
        args.out / f"{supervision.replace(' ', '-')}-{size}-{seed}",
        "prm" if supervision == "process" else "orm",
        [
            example[supervision]
            for number, of_problem in enumerate(examples)
            for example in random.Random(f"{seed} {number}").sample(of_problem, min(size, len(of_problem)))
        ],
        Train(
            head=args.head,
            marker=bundled.MARKER if args.head == "label_tokens" else None,
            epochs=args.epochs,
            learning_rate=args.learning_rate,
            held_out=0,
            bf16=bfloat16_is_fast(device()),
            seed=seed,
        ),
        fresh,
    )


def correctness(job: Job) -> list[float]:
    """The expected correctness of the best-scored candidate of each fresh problem; kept beside the model."""
    kept = job.path / "correctness.json"
    if kept.exists():
        found: list[float] = json.loads(kept.read_bytes())
        return found
    if not job.path.exists():
        train(job.kind, job.examples, bundled.PATH, job.path, job.how)
    reward = LocalReward.load(job.path, dtype="auto")
    found = asyncio.run(_chosen(reward, job))
    reward.close()
    with replacing(kept) as file:
        file.write(json.dumps(found).encode())
    return found


async def _chosen(reward: RewardModel, job: Job) -> list[float]:
    how: Aggregation = "product" if job.kind == "prm" else "last"

    async def key(problem: Problem, one: Solution) -> float:
        known = one.finish == "stop" and one.steps
        return sort_key((await reward.score(Prefix(problem, one.steps, None))).scores, how) if known else -np.inf

    async def correct(problem: Problem, candidates: Sequence[Solution]) -> float:
        keys_N = np.array(await asyncio.gather(*(key(problem, one) for one in candidates)))
        correct_N = np.array([float(grade(problem, one.answer).correct) for one in candidates])
        return float(best_of_n(correct_N, keys_N, [len(candidates)], keys_N > -np.inf)[0])

    return await asyncio.gather(*(correct(problem, candidates) for problem, candidates in job.fresh))


def main(args: ThreeSupervisions) -> None:
    found = asyncio.run(run(args))
    bootstrap = Bootstrap()
    curves = {}
    for name, values_P_K in found.items():
        low_K, high_K = accuracy_interval(values_P_K, resample(values_P_K, bootstrap), bootstrap.level)
        curves[name] = [values_P_K.mean(axis=0), low_K, high_K]
    for one, other in pairwise(SUPERVISIONS):
        gain_P_K = found[one] - found[other]
        low_K, high_K = interval(gain_P_K.mean(axis=0), resample(gain_P_K, bootstrap), bootstrap.level)
        curves[f"{one} - {other}"] = [gain_P_K.mean(axis=0), low_K, high_K]
    print(
        f"\nbest of {args.candidates}, {args.tests} problems, mean of {args.seeds} seeds, 95 % intervals over problems"
    )
    print(" " * 48 + "".join(f"{size:>28}" for size in sizes(args.solutions)))
    for name, (mean_K, low_K, high_K) in curves.items():
        row = (f"{m:+.4f} [{low:+.4f}, {high:+.4f}]" for m, low, high in zip(mean_K, low_K, high_K, strict=True))
        print(f"{name:48}" + "".join(f"{cell:>28}" for cell in row))
    figures = {name: [values.tolist() for values in curve] for name, curve in curves.items()}
    with replacing(args.out / "three_supervisions.json") as file:
        said = {"sizes": sizes(args.solutions), "settings": asdict(args), "mean, low, high": figures}
        file.write(json.dumps(said, indent=1, default=str).encode() + b"\n")


if __name__ == "__main__":
    main(tyro.cli(ThreeSupervisions))
