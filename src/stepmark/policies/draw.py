"""The first stage of every experiment: n solutions of each problem, on record."""

from collections.abc import Sequence
from dataclasses import replace

from stepmark.grading import extract
from stepmark.policies.base import Policy, seed_from
from stepmark.records import Job, Run, complete
from stepmark.steps import join
from stepmark.types import Completion, Prefix, Problem, Sampling, Solution


def seed_of(seed: int, problem: Problem, steps: Sequence[str] = ()) -> int:
    """A seed of its own for each prefix. With one seed for all, sample i of every problem would draw on the same random
    numbers, and problems would not be independent."""
    return seed_from(seed, problem.id, tuple(steps))


def solution(problem: Problem, index: int, completion: Completion) -> Solution:
    """A whole completion as a solution; one that did not finish has no answer, whatever its text says."""
    answer = extract(join(completion.steps)) if completion.finish == "stop" else None
    return Solution(
        problem.id, index, completion.steps, answer, completion.finish, completion.token_ids, completion.cost
    )


async def draw(
    run: Run, problems: Sequence[Problem], policy: Policy, n: int, sampling: Sampling, *, name: str = "solutions"
) -> list[tuple[Solution, ...]]:
    """n solutions of each problem, in the problems' order, in the run's record file `name`. What is on record is
    not drawn again. Raises InputError where two problems share an id."""

    def job(problem: Problem) -> Job[Solution]:
        async def work() -> list[Solution]:
            drawn = await policy.sample(Prefix(problem), n, replace(sampling, seed=seed_of(sampling.seed, problem)))
            return [solution(problem, index, completion) for index, completion in enumerate(drawn)]

        return Job(tuple((problem.id, index) for index in range(n)), work)

    flat = await complete(run, name, Solution, [job(problem) for problem in problems], title=name, at_once=1024)
    return [tuple(flat[n * p : n * (p + 1)]) for p in range(len(problems))]
