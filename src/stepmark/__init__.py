"""stepmark: language models that reason better because every step is judged."""

__version__ = "0.1.0"
