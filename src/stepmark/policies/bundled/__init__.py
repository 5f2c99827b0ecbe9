"""The policy that comes with stepmark: a small Llama that solves Quantities problems, well enough to be worth verifying
and badly enough to need it. `recipes/bundled_policy.py` trains it and says what it can do.

`PATH` is an ordinary Hugging Face model directory.
"""

from pathlib import Path

from stepmark.policies.local import LocalPolicy

__all__ = ["MARKER", "PATH", "load"]

PATH = Path(__file__).parent / "model"
MARKER = "<|judge|>"
"""the token at which its critiques judge a step: the next one is ` +` or ` -`"""


def load(*, memory: int | None = None) -> LocalPolicy:
    """The bundled policy, in float32: on a CPU as fast as bfloat16 at this size, and the same samples everywhere."""
    return LocalPolicy.load(PATH, dtype="float32", memory=memory)
