"""`stepmark score`: the steps of recorded solutions, scored by a reward model."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from stepmark.cli.models import ReadAs, line_ends, reward_path
from stepmark.rewards.aggregate import Aggregation

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
    read: str
    """how the reward model is read"""
    aggregate: Aggregation
    """how its step scores are combined, as its directory or its authors say"""
    too_long: str
    question: str | None
    """what a critic is asked, where that was given"""


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
    too_long: Literal["error", "mask"] = "error"
    """a solution that the model cannot read to its end stops the scoring, or is put on record without scores, so that
    nothing chooses it"""
    read_as: Annotated[ReadAs, tyro.conf.arg(name="")] = field(default_factory=ReadAs)

    def run(self) -> int:
        import asyncio
        import time

        from stepmark.records import Run, pace
        from stepmark.rewards.judge import judge
        from stepmark.types import Cost, SolutionScores

        pool = self._pool()
        path, how = reward_path(self.reward), self.read_as
        said = how.describe(path)
        reward = how.load(path)

        async def work(run: Run) -> tuple[list[SolutionScores | None], float]:
            try:
                began = time.monotonic()
                scores = await judge(run, pool, reward, mask=self.too_long == "mask")
                return [one for row in scores for one in row], time.monotonic() - began
            finally:
                reward.close()

        files = (path.resolve(), self.candidates.resolve(), self.name)
        as_told = (how.dtype, how.family, line_ends(how.separator))
        read_as = said.told.removeprefix(f"{path}: ")
        settings = Settings(*files, *as_told, read_as, said.aggregate, self.too_long, how.asked())
        with Run.open(self.out, settings) as run:
            before = {(one.problem_id, one.index) for one in run.read("scores", SolutionScores)}
            scores, seconds = asyncio.run(work(run))
            masked = sum(one.masked for one in run.read("scores", SolutionScores))
        found = [one for one in scores if one is not None]
        cut = len(scores) - len(found) - masked
        longer = f", {masked:,} too long and masked" if masked else ""
        print(f"{self.out}: {len(found):,} solutions scored, {cut:,} cut or empty and left out{longer}")
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
