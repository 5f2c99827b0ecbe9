"""The process reward model that comes with stepmark: for Quantities problems, trained from the bundled policy on 11,324
of its solutions whose steps the exact oracle rated (`recipes/bundled_reward.py` says how, docs/log.md what it can do).

`PATH` is a directory as `stepmark train` writes it.
"""

from pathlib import Path

__all__ = ["PATH"]

PATH = Path(__file__).parent / "model"
