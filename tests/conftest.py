"""Settings of the whole test run."""

import os

# The tests' models are tiny: threads do not help them, and on a busy machine they wait for each other for minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")
