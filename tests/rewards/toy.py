"""Problems and rated solutions that any reward model can learn."""

import random

from stepmark.rewards.examples import Example
from stepmark.types import Problem


def problem(number: int = 0) -> Problem:
    return Problem(id=f"p{number}", question=f"what is the sum {number % 30}?", gold="1", source="toy")


def separable(problems: int, per_problem: int, seed: int = 0) -> list[Example]:
    """Solutions whose steps begin with `good` or `bad`, and are; correct where no step is bad."""
    draw = random.Random(seed)
    examples = []
    for number in range(problems):
        for _ in range(per_problem):
            right = [draw.random() < 0.75 for _ in range(draw.randint(1, 4))]
            steps = tuple(f"{'good' if ok else 'bad'} {draw.randrange(30)}" for ok in right)
            examples.append(Example(problem(number), steps, tuple(map(float, right)), float(all(right))))
    return examples
