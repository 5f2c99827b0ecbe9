"""The whole loop on the bundled model, from problems to a report's figures, as one script that reads top to bottom.

    problems -> the policy samples solutions -> the grader checks their answers -> rollouts (or the oracle) rate their
    steps -> an outcome and a process reward model are trained on the same solutions -> both choose among fresh
    candidates -> the comparison, with intervals

Everything is recorded in one run, and resumes: a killed demo goes on where it was.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from stepmark.engine.processes import spread
from stepmark.evaluate.pool import MAJORITY, Comparison, Graded, Key, Scored, compare, default_sizes
from stepmark.evaluate.sensitivity import Drop, drop, probe
from stepmark.grading import classes, grade
from stepmark.labels import Rollout, RolloutLabels, distinct, hard, label, soft
from stepmark.policies import bundled
from stepmark.policies.base import Policy
from stepmark.policies.draw import draw
from stepmark.precision import bfloat16_is_fast, device, room
from stepmark.problems import quantities
from stepmark.records import Run
from stepmark.rewards.aggregate import Aggregation
from stepmark.rewards.base import RewardModel
from stepmark.rewards.examples import Example, Kind, from_signed
from stepmark.rewards.judge import judge
from stepmark.rewards.local import MEMORY, LocalReward
from stepmark.rewards.settings import Head, Train
from stepmark.rewards.train import TrainResult, train
from stepmark.types import Problem, Sampling, Solution, SolutionScores, StepLabels

KINDS: tuple[Kind, ...] = ("orm", "prm")
POOL_SEED = 1_000
"""of the training problems; the bundled policy was trained on problems of seed 1"""
MAX_TOKENS = 256
"""of a solution; the longest reference solution of level 6 has about 150"""

LabelSource = Literal["rollout-hard", "rollout-soft", "oracle"]
Pool = list[tuple[Problem, tuple[Solution, ...]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """Sizes of the loop. Training problems are of the train split, fresh ones of the test split."""

    labels: LabelSource = "rollout-hard"
    """who rates the steps that the PRM learns from"""
    problems: int = 120
    """training problems"""
    solutions: int = 8
    """solutions per training problem, for both reward models"""
    rollouts: int = 8
    """continuations per step, with labels by rollouts"""
    tests: int = 100
    """fresh problems"""
    candidates: int = 64
    """solutions per fresh problem"""
    head: Head = "likelihood"
    """of both reward models"""
    aggregate: Aggregation = "product"
    """of the PRM's step scores"""
    epochs: int = 2
    learning_rate: float = 5e-4
    batch_size: int = 32
    """solutions per update"""
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Labelled:
    """A training solution with its labels, and with what its continuations did where they were drawn."""

    problem: Problem
    solution: Solution
    labels: StepLabels
    rollouts: RolloutLabels | None


@dataclass(frozen=True, slots=True)
class Result:
    """What came out, for the report and for further measurements."""

    comparison: Comparison
    fresh: Pool
    scores: dict[Kind, list[tuple[SolutionScores | None, ...]]]
    """by problem and candidate; None for an unfinished one"""
    labelled: list[Labelled]
    trained: dict[Kind, TrainResult]
    """of this start; a reward model that was there already is not trained again"""
    drops: dict[Kind, list[Drop]]
    seconds: dict[str, float]
    """of each stage of this start"""


def key(method: Literal["best_of_n", "weighted_vote"], kind: Kind, settings: Settings) -> Key:
    """The method's key in the comparison. An outcome reward model's score is its last one."""
    return method, kind.upper(), settings.aggregate if kind == "prm" else "last"


def processes() -> int:
    """That draw and score fastest with a model as small as the bundled one: one for each thread, up to 4, of which each
    takes half a gigabyte; a single one on a GPU."""
    return 1 if device() == "cuda" else min(torch.get_num_threads(), 4)


async def loop(out: Path, settings: Settings, say: Callable[[str], None]) -> Result:
    """Every stage in turn, recorded in the run `out`; `say` gets a line about each. Where there are several threads it
    starts processes, so a script calls it under `if __name__ == "__main__"`.

    Raises InputError where `out` is something else, or a run of other settings.
    """
    seconds: dict[str, float] = {}
    training = list(quantities.generate("train", settings.problems, seed=POOL_SEED + settings.seed))
    tests = list(quantities.generate("test", settings.tests, seed=settings.seed))
    sampling = Sampling(max_tokens=MAX_TOKENS, seed=settings.seed)
    policy = spread(bundled.load, processes(), memory=room(device())[1])
    with Run.open(out, settings) as run:
        with _timed("drawing solutions", seconds):
            drawn = await draw(run, training, policy, settings.solutions, sampling, name="solutions")
        pool: Pool = list(zip(training, drawn, strict=True))
        right = [grade(problem, one.answer).correct for problem, solutions in pool for one in solutions]
        say(f"drew {len(right):,} solutions of {len(training):,} training problems: {share(right)} right")

        with _timed("rating steps", seconds):
            labelled = await _rate(run, pool, policy, settings)
        rated = [rating for one in labelled for rating in one.labels.ratings if rating is not None]
        say(f"{settings.labels} rated {len(rated):,} steps of {len(labelled):,} distinct solutions")

        trained: dict[Kind, TrainResult] = {}
        for kind in KINDS:
            if not (out / kind).exists():
                with _timed(f"training the {kind.upper()}", seconds):
                    trained[kind] = _train(kind, labelled, out / kind, settings)
                say(_told(kind, trained[kind]))

        with _timed("drawing candidates", seconds):
            candidates = await draw(run, tests, policy, settings.candidates, sampling, name="candidates")
        policy.close()
        fresh: Pool = list(zip(tests, candidates, strict=True))
        say(f"drew {len(tests) * settings.candidates:,} candidates of {len(tests):,} fresh problems")

        scores: dict[Kind, list[tuple[SolutionScores | None, ...]]] = {}
        drops: dict[Kind, list[Drop]] = {}
        for kind in KINDS:
            with _timed(f"scoring by the {kind.upper()}", seconds):
                reward = spread(partial(LocalReward.load, out / kind, dtype="auto"), processes(), memory=MEMORY)
                scores[kind] = await judge(run, fresh, reward, name=f"scores-{kind}")
                drops[kind] = await _drops(reward, fresh)
                reward.close()
        with _timed("comparing", seconds):
            comparison = _compare(fresh, scores, settings)
    return Result(comparison, fresh, scores, labelled, trained, drops, seconds)


def share(right: Sequence[bool]) -> str:
    return f"{sum(right) / len(right):.1%}"


async def _rate(run: Run, pool: Pool, policy: Policy, settings: Settings) -> list[Labelled]:
    """The distinct finished solutions of every problem with their step labels."""
    chosen = [(problem, distinct(solutions)) for problem, solutions in pool]
    if settings.labels == "oracle":
        return [
            Labelled(
                problem, one, StepLabels(problem.id, one.index, quantities.rate(problem, one.steps), "oracle"), None
            )
            for problem, solutions in chosen
            for one in solutions
        ]
    estimate = hard if settings.labels == "rollout-hard" else soft
    rollouts = await label(
        run,
        pool,
        policy,
        Rollout(settings.rollouts, max_tokens=MAX_TOKENS, until_success=estimate is hard, seed=settings.seed),
    )
    return [
        Labelled(problem, one, estimate(what), what)
        for (problem, solutions), them in zip(chosen, rollouts, strict=True)
        for one, what in zip(solutions, them, strict=True)
    ]


def _train(kind: Kind, labelled: Sequence[Labelled], out: Path, settings: Settings) -> TrainResult:
    """A reward model trained from the bundled model. With label tokens it judges at the model's marker, where the model
    already knows the two labels."""
    examples = [
        Example(
            one.problem,
            one.solution.steps,
            from_signed(one.labels.ratings) if settings.labels == "oracle" else one.labels.ratings,
            float(grade(one.problem, one.solution.answer).correct),
        )
        for one in labelled
    ]
    how = Train(
        head=settings.head,
        marker=bundled.MARKER if settings.head == "label_tokens" else None,
        aggregate=settings.aggregate,
        label_source=settings.labels if kind == "prm" else "grader",
        epochs=settings.epochs,
        learning_rate=settings.learning_rate,
        batch_size=settings.batch_size,
        bf16=bfloat16_is_fast(device()),
        seed=settings.seed,
    )
    return train(kind, examples, bundled.PATH, out, how)


def _told(kind: Kind, result: TrainResult) -> str:
    last = result.epochs[-1]
    figures = [("AUC", last.auc), ("within a problem", last.within_problem_auc)]
    known = ", ".join(f"{name} {value:.3f}" for name, value in figures if value is not None)
    return f"trained the {kind.upper()} on {result.trained:,} solutions; {result.held_out:,} held out: {known}"


async def _drops(reward: RewardModel, fresh: Pool) -> list[Drop]:
    """How far the score of a right step falls when a digit of it is changed, for one candidate of each problem."""
    probes = []
    for problem, candidates in fresh:
        steps = candidates[0].steps
        right_S = [rating > 0 for rating in quantities.rate(problem, steps)]
        if one := probe(problem, steps, right_S):
            probes.append(one)
    return await asyncio.gather(*(drop(reward, one) for one in probes))


def _compare(
    fresh: Pool, scores: dict[Kind, list[tuple[SolutionScores | None, ...]]], settings: Settings
) -> Comparison:
    graded = []
    for problem, candidates in fresh:
        verdicts = [grade(problem, one.answer) for one in candidates]
        graded.append(
            Graded(
                problem.id,
                tuple(None if verdict.value == "ungraded" else verdict.correct for verdict in verdicts),
                tuple(classes([one.answer for one in candidates])),
                tuple(one.cost.generated for one in candidates),
            )
        )
    scored = [
        Scored(
            kind.upper(),
            settings.aggregate if kind == "prm" else "last",
            [[one.scores if one else None for one in row] for row in scores[kind]],
            [[one.cost.scored if one else 0 for one in row] for row in scores[kind]],
        )
        for kind in KINDS
    ]
    ns = default_sizes(settings.candidates)
    by_orm = key("best_of_n", "orm", settings), key("weighted_vote", "orm", settings)
    return compare(graded, scored, ns=ns, baselines=(MAJORITY, *by_orm))


@contextmanager
def _timed(stage: str, seconds: dict[str, float]) -> Iterator[None]:
    began = time.monotonic()
    yield
    seconds[stage] = time.monotonic() - began
