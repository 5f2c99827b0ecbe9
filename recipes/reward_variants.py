"""What a process reward model is best taught, and with which head: the same solutions, labels of several kinds.

    python -m recipes.reward_variants --out runs/variants --problems 1000 --workers 4

Labels are exact, two classes or three, or by rollouts, hard or soft; heads are tokens of the base model, a linear
layer, two layers, or one with the model's own surprise beside it. Every model is judged on the exactly rated steps of
fresh solutions. Figures are means over seeds, which draw the order and a new head, with the smallest and the largest;
best of N chooses by the product of the scores.
"""

import asyncio
import json
import multiprocessing
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import tyro

from stepmark.evaluate.estimators import best_of_n
from stepmark.evaluate.intervals import Figure
from stepmark.evaluate.measures import measure
from stepmark.grading import grade
from stepmark.labels import Rollout, hard, label, soft
from stepmark.policies import bundled
from stepmark.policies.draw import draw
from stepmark.precision import bfloat16_is_fast, device
from stepmark.problems import quantities
from stepmark.records import Run, replacing
from stepmark.rewards.aggregate import sort_key
from stepmark.rewards.base import RewardModel
from stepmark.rewards.examples import Example, from_signed
from stepmark.rewards.local import LocalReward
from stepmark.rewards.settings import Train
from stepmark.rewards.train import train
from stepmark.types import LabelledSolution, Prefix, Problem, Sampling, Solution, StepLabels

EXACT, RATINGS, HARD, SOFT = "exact", "ratings", "rollouts, hard", "rollouts, soft"
"""ratings: exact too, +1, 0 or -1, as three classes are taught"""

VARIANTS: Mapping[str, tuple[str, Train]] = {
    "exact, label tokens": (EXACT, Train()),
    "exact, linear head": (EXACT, Train(head="linear")),
    "exact, two-layer head": (EXACT, Train(head="two_layer")),
    "exact, likelihood": (EXACT, Train(head="likelihood")),
    "exact, three classes, label tokens": (RATINGS, Train(classes=3, zero=" 0")),
    "exact, three classes, linear head": (RATINGS, Train(classes=3, head="linear")),
    "rollouts, hard, label tokens": (HARD, Train(aggregate="last")),
    "rollouts, soft, label tokens": (SOFT, Train(aggregate="last")),
    "rollouts, soft, squared error": (SOFT, Train(aggregate="last", loss="squared_error")),
}
"""the labels, and how they are taught"""


@dataclass(frozen=True)
class RewardVariants:
    """Labels and heads of process reward models beside each other, on the same solutions."""

    out: Path
    """the run's directory; run again after an interruption, it goes on"""
    problems: int = 300
    """training problems"""
    solutions: int = 4
    """solutions per training problem"""
    rollouts: int = 8
    """continuations per step"""
    tests: int = 200
    """fresh problems"""
    candidates: int = 16
    """solutions per fresh problem"""
    epochs: int = 2
    learning_rate: float = 5e-4
    seeds: int = 3
    workers: int = 1
    """reward models trained at once, each in a process of its own: several keep a GPU busy"""


@dataclass(frozen=True)
class Job:
    """A reward model to be trained, and judged on fresh solutions."""

    path: Path
    examples: list[Example]
    how: Train
    fresh: list[tuple[Problem, list[Solution]]]


async def examples(args: RewardVariants) -> tuple[dict[str, list[Example]], list[tuple[Problem, list[Solution]]]]:
    """The training examples under each kind of label, and the finished candidates of the fresh problems."""
    policy = bundled.load()
    sampling = Sampling(max_tokens=256)
    training = list(quantities.generate("train", args.problems, seed=3_000))
    tests = list(quantities.generate("test", args.tests))
    with Run.open(args.out, replace(args, workers=1)) as run:
        drawn = await draw(run, training, policy, args.solutions, sampling)
        candidates = await draw(run, tests, policy, args.candidates, sampling, name="candidates")
        pool = list(zip(training, drawn, strict=True))
        rolled = await label(run, pool, policy, Rollout(args.rollouts, past_first_error=True))
    policy.close()
    found: dict[str, list[Example]] = {kind: [] for kind in (EXACT, RATINGS, HARD, SOFT)}
    by_key = {(problem.id, one.index): (problem, one) for problem, several in pool for one in several}
    for labels in (one for several in rolled for one in several):
        problem, solution = by_key[labels.problem_id, labels.index]
        ratings = quantities.rate(problem, solution.steps)
        targets = {
            EXACT: from_signed(ratings),
            RATINGS: tuple(map(float, ratings)),
            HARD: hard(labels).ratings,
            SOFT: soft(labels).ratings,
        }
        for kind, taught in targets.items():
            found[kind].append(Example(problem, solution.steps, taught))
    fresh = [(p, [s for s in several if s.finish == "stop"]) for p, several in zip(tests, candidates, strict=True)]
    return found, [(problem, finished) for problem, finished in fresh if finished]


def figures(job: Job) -> dict[str, float]:
    """Trains the model, unless it is there, and judges it; the figures are kept beside it."""
    kept = job.path / "figures.json"
    if kept.exists():
        found: dict[str, float] = json.loads(kept.read_bytes())
        return found
    if not job.path.exists():
        train("prm", job.examples, bundled.PATH, job.path, job.how)
    reward = LocalReward.load(job.path, dtype="auto")
    found = asyncio.run(_judged(reward, job))
    reward.close()
    with replacing(kept) as file:
        file.write(json.dumps(found).encode())
    return found


async def _judged(reward: RewardModel, job: Job) -> dict[str, float]:
    solutions = [(problem, one) for problem, several in job.fresh for one in several]
    calls = (reward.score(Prefix(problem, one.steps, None)) for problem, one in solutions)
    scores = [scored.scores for scored in await asyncio.gather(*calls)]
    labelled = [
        LabelledSolution(p, s, StepLabels(p.id, s.index, quantities.rate(p, s.steps), "oracle")) for p, s in solutions
    ]
    said = measure(labelled, scores)
    left = iter(scores)
    chosen = [best([sort_key(next(left), "product") for _ in several], p, several) for p, several in job.fresh]
    return {
        "step AUC": _value(said.auc),
        "within a problem": _value(said.within_problem_auc),
        "first-error F1": _value(said.first_error),
        "calibration error": _value(said.calibration_error),
        "best of N": float(np.mean(chosen)),
    }


def _value(figure: Figure | None) -> float:
    return float("nan") if figure is None else figure.value


def best(keys: Sequence[float], problem: Problem, solutions: Sequence[Solution]) -> float:
    """The expected correctness of the best-scored of all solutions of a problem."""
    correct_N = np.array([float(grade(problem, one.answer).correct) for one in solutions])
    return float(best_of_n(correct_N, np.array(keys), [len(solutions)])[0])


def main(args: RewardVariants) -> None:
    taught, fresh = asyncio.run(examples(args))
    jobs = {}
    for name, (labels, how) in VARIANTS.items():
        for seed in range(args.seeds):
            settings = replace(
                how,
                marker=None if how.head == "likelihood" else bundled.MARKER,
                label_source=labels,
                epochs=args.epochs,
                learning_rate=args.learning_rate,
                held_out=0,
                bf16=bfloat16_is_fast(device()),
                seed=seed,
            )
            path = args.out / f"{name.replace(', ', '-').replace(' ', '-')}-{seed}"
            jobs[name, seed] = Job(path, taught[labels], settings, fresh)
    with ProcessPoolExecutor(args.workers, multiprocessing.get_context("spawn")) as workers:
        found = dict(zip(jobs, workers.map(figures, jobs.values()), strict=True))
    print(f"\n{len(taught[EXACT]):,} solutions; {args.seeds} seeds: mean (smallest to largest)")
    for name in VARIANTS:
        print(name)
        for what in found[name, 0]:
            values = [found[name, seed][what] for seed in range(args.seeds)]
            print(f"  {what:18} {np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})")


if __name__ == "__main__":
    main(tyro.cli(RewardVariants))
