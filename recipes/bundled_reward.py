"""Makes the bundled reward model of one that was trained.

    python -m recipes.first_result --out runs/bundled --labels oracle --problems 3200 --tests 1500
    python -m recipes.bundled_reward --trained runs/bundled/prm --out src/stepmark/rewards/bundled/model

The first takes about an hour on two CPU cores. The second rounds the weights to bfloat16, which halves the file.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
import tyro

from stepmark.rewards.model import load, save


@dataclass(frozen=True)
class BundledReward:
    """Rounds a trained reward model to bfloat16."""

    trained: Path
    """its directory"""
    out: Path
    """directory that receives it"""


def main(args: BundledReward) -> None:
    net, tokenizer, spec = load(args.trained, torch.bfloat16)
    save(net, tokenizer, spec, args.out)


if __name__ == "__main__":
    main(tyro.cli(BundledReward))
