"""Problem sets: each yields problems with gold answers. `quantities` generates its own and judges their steps."""

from stepmark.problems import gsm8k, math, quantities
from stepmark.problems.files import read, record

__all__ = ["gsm8k", "math", "quantities", "read", "record"]
