"""What the bundled policy can do: greedy accuracy, pass@1 and pass@64, by level and out of distribution.

python -m recipes.policy_figures
"""

import asyncio
from dataclasses import dataclass

import numpy as np
import tyro

from stepmark.evaluate.estimators import pass_at_k
from stepmark.evaluate.intervals import Bootstrap, accuracy_interval, resample
from stepmark.grading import grade
from stepmark.policies import bundled
from stepmark.policies.base import Policy
from stepmark.policies.draw import seed_of, solution
from stepmark.problems import quantities
from stepmark.types import Prefix, Problem, Sampling


@dataclass(frozen=True)
class PolicyFigures:
    """Accuracy of the bundled policy on fresh problems, levels 1 to 6 spread evenly."""

    problems: int = 504
    samples: int = 64
    seed: int = 7


async def right(policy: Policy, problem: Problem, n: int, temperature: float) -> list[bool]:
    """Whether each of n solutions is correct."""
    sampling = Sampling(temperature=temperature, max_tokens=256, seed=seed_of(0, problem))
    drawn = await policy.sample(Prefix(problem), n, sampling)
    return [grade(problem, solution(problem, i, one).answer).correct for i, one in enumerate(drawn)]


async def main(args: PolicyFigures) -> None:
    policy = bundled.load()
    fresh = list(quantities.generate("test", args.problems, seed=args.seed))
    strange = list(quantities.generate("ood", args.problems // 4, seed=args.seed))
    greedy = await asyncio.gather(*(right(policy, one, 1, 0.0) for one in fresh))
    drawn = await asyncio.gather(*(right(policy, one, args.samples, 1.0) for one in fresh))
    odd = await asyncio.gather(*(right(policy, one, args.samples, 1.0) for one in strange))
    policy.close()
    ks = [1, args.samples]
    greedy_P = np.array([[float(one[0])] for one in greedy])
    passes_P_K = np.array([pass_at_k(np.array(one, dtype=float), ks) for one in drawn])
    values_P_3 = np.concatenate([greedy_P, passes_P_K], axis=1)
    print(f"{'':18}{'greedy':24}{'pass@1':24}pass@{args.samples}")
    for level in quantities.LEVELS:
        _row(f"level {level}", values_P_3[[one.level == level for one in fresh]])
    _row("levels 1 to 6", values_P_3)
    odd_P_K = np.array([pass_at_k(np.array(one, dtype=float), ks) for one in odd])
    _row("ood, levels 7-10", np.concatenate([np.full((len(odd), 1), np.nan), odd_P_K], axis=1))


def _row(name: str, values_P_K: np.ndarray) -> None:
    """Means with 95 % intervals over problems."""
    cells = []
    for values_P in values_P_K.T:
        if np.isnan(values_P).any():
            cells.append(f"{'not drawn':24}")
            continue
        column = values_P[:, None]
        low, high = accuracy_interval(column, resample(column, Bootstrap(resamples=2000)), 0.95)
        cells.append(f"{values_P.mean():.3f} [{low[0]:.3f}, {high[0]:.3f}]".ljust(24))
    print(f"{name:18}" + "".join(cells))


if __name__ == "__main__":
    asyncio.run(main(tyro.cli(PolicyFigures)))
