"""The scores of recorded solutions, on record."""

from collections.abc import Sequence

from stepmark.errors import TooLongError
from stepmark.records import Job, Run, complete
from stepmark.rewards.base import RewardModel
from stepmark.types import Prefix, Problem, Solution, SolutionScores

Pool = Sequence[tuple[Problem, Sequence[Solution]]]


async def judge(
    run: Run, pool: Pool, reward: RewardModel, *, name: str = "scores", mask: bool = False
) -> list[tuple[SolutionScores | None, ...]]:
    """The step scores of every finished solution, by problem, in the run's record file `name`; None for one that
    nothing may choose: unfinished, or (`mask`) too long for the reward model, which is on record. Errors as
    `RewardModel.score`."""

    def job(problem: Problem, solution: Solution) -> Job[SolutionScores]:
        async def work() -> list[SolutionScores]:
            try:
                scores = await reward.score(Prefix(problem, solution.steps, None))
            except TooLongError:
                if not mask:
                    raise
                return [SolutionScores(problem.id, solution.index, (), masked=True)]
            return [SolutionScores(problem.id, solution.index, scores.scores, scores.cost)]

        return Job(((problem.id, solution.index),), work)

    finished = [(problem, s) for problem, solutions in pool for s in solutions if s.finish == "stop" and s.steps]
    flat = await complete(run, name, SolutionScores, [job(*one) for one in finished], title=name, at_once=2048)
    found = {(one.problem_id, one.index): one for one in flat if not one.masked}
    return [tuple(found.get((problem.id, s.index)) for s in solutions) for problem, solutions in pool]
