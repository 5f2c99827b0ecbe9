"""`stepmark score`: the steps of recorded solutions, scored by a reward model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from stepmark.cli.models import line_ends, load_reward, reward_path

if TYPE_CHECKING:
    from stepmark.rewards.judge import Pool


@dataclass(frozen=True)
class Settings:
    """What the run's records depend on; its manifest holds it, and a run resumes with the same alone."""

    reward: Path
    candidates: Path
    name: str
    dtype: str
    family: str | None
    separator: str | None


@dataclass(frozen=True)
class Score:
    """Scores every step of recorded solutions with a reward model and records the scores in a run.

    The candidates are a run of `stepmark sample`, or a candidate pool (JSON lines, plain or .gz, one problem a line).
    In scores.jsonl the run has a line for each solution, with a score per step and its cost. A solution that was cut
    has none: nothing may choose it. A pool does not say how sampling ended, so all of it is scored. Interrupted or
    killed, run the same command again: what is on record is not scored again.

    stepmark score --reward prm --candidates runs/a --out runs/a-scores

    stepmark score --reward prm --candidates candidates.jsonl.gz --out runs/pool-scores

    The kind of a published model is recognised from its files where they tell it, and stated; else name it.

    stepmark score --reward math-shepherd-mistral-7b-prm --family math-shepherd --candidates runs/a --out runs/b-scores
    """

    reward: Path
    """directory of the reward model: one that `stepmark train` wrote, or a published one; bundled: the one that comes
    with stepmark, for Quantities problems"""
    candidates: Path
    """a run's directory, or a candidate pool"""
    out: Path
    """the directory of the run that holds the scores"""
    name: str = "solutions"
    """which record file of a candidates' run"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where the processor has units for it, and scores differ by some .001"""

    family: str | None = None
    """how a published model is read: math-shepherd, rlhflow, skywork-o1, qwen-math-prm, er-prm, pqm, llemma, trl"""
    separator: str | None = None
    r"""of the steps, for models that were trained with different ones (trl, pure); \n stands for a line end"""
    processes: int = 1
    """that compute, each with a copy of the model and its share of processor and memory: for a small model on a CPU
    much faster than threads; as many as there are cores, say"""

    def run(self) -> int:
        import asyncio
        import time

        from stepmark.records import Run, pace
        from stepmark.rewards.judge import judge
        from stepmark.types import Cost, SolutionScores

        pool = self._pool()
        path = reward_path(self.reward)
        separator = line_ends(self.separator)
        reward = load_reward(path, self.family, separator, self.dtype, self.processes)

        async def work(run: Run) -> tuple[list[SolutionScores | None], float]:
            try:
                began = time.monotonic()
                scores = await judge(run, pool, reward)
                return [one for row in scores for one in row], time.monotonic() - began
            finally:
                reward.close()

        settings = Settings(path.resolve(), self.candidates.resolve(), self.name, self.dtype, self.family, separator)
        with Run.open(self.out, settings) as run:
            before = {(one.problem_id, one.index) for one in run.read("scores", SolutionScores)}
            scores, seconds = asyncio.run(work(run))
        found = [one for one in scores if one is not None]
        print(f"{self.out}: {len(found):,} solutions scored, {len(scores) - len(found):,} cut or empty and left out")
        if new := [one for one in found if (one.problem_id, one.index) not in before]:
            print(f"scored now: {len(new):,}; {pace(len(new), Cost.total(one.cost for one in new), seconds)}")
        return 0

    def _pool(self) -> "Pool":
        """The problems with their solutions."""
        from stepmark.formats.candidates import read_candidates
        from stepmark.formats.runs import read_solutions
        from stepmark.types import Solution

        if self.candidates.is_dir():
            return read_solutions(self.candidates, self.name)
        return [
            (
                one.problem,
                [Solution(one.problem.id, i, c.steps, c.answer, "stop") for i, c in enumerate(one.candidates)],
            )
            for one in read_candidates(self.candidates)
        ]
