"""`stepmark score`: step scores of a pool of candidates."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from stepmark.errors import InputError


@dataclass(frozen=True)
class Score:
    """Scores every step of a pool of candidates with a reward model: one that stepmark trained, or a published one.

    The family of a published model is recognised from its files where they tell it, and stated; name it where they do
    not. The step scores are written for `stepmark evaluate pool --scores`. Run again after an interruption, it goes on.
    """

    reward: Path
    """directory of the reward model"""
    candidates: Path
    """candidate pool: JSON lines, plain or .gz, one problem a line"""
    out: Path
    """the run's directory, in which step_scores.jsonl is written"""
    family: str | None = None
    """how a published model is read, such as math-shepherd, rlhflow, skywork-o1, qwen-math-prm, trl"""
    separator: str | None = None
    r"""the separator of a model of TRL's PRMTrainer (trl, pure), as it was trained; \n stands for a line end"""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """bfloat16 is faster where the machine has it"""

    def run(self) -> int:
        import asyncio

        from stepmark.formats.candidates import read_candidates
        from stepmark.records import Run, replacing
        from stepmark.rewards.families import load
        from stepmark.rewards.judge import judge
        from stepmark.types import Solution

        pool = read_candidates(self.candidates)
        separator = None if self.separator is None else self.separator.replace("\\n", "\n")
        loaded = load(self.reward, self.family, separator=separator, dtype=self.dtype)
        print(loaded.told)
        solutions = [
            (
                one.problem,
                [
                    Solution(one.problem.id, index, candidate.steps, candidate.answer, "stop")
                    for index, candidate in enumerate(one.candidates)
                ],
            )
            for one in pool
        ]
        empty = sum(not one.steps for _, candidates in solutions for one in candidates)
        if empty:
            raise InputError(f"{empty} candidates have no steps", path=self.candidates, remedy="leave them out")
        with Run.open(self.out, self) as run:
            scores = asyncio.run(judge(run, solutions, loaded.reward))
        found = [one for row in scores for one in row if one is not None]
        with replacing(self.out / "step_scores.jsonl") as file:
            for one in found:
                file.write(_line(one.problem_id, one.index, one.scores))
        tokens = sum(one.cost.scored for one in found)
        print(f"{len(found):,} candidates, {tokens:,} tokens scored: {self.out / 'step_scores.jsonl'}")
        return 0


def _line(problem_id: str, index: int, scores: tuple[float, ...]) -> bytes:
    import msgspec

    return msgspec.json.encode({"problem_id": problem_id, "candidate_index": index, "step_scores": scores}) + b"\n"
