"""Settings of the whole test run."""

import os

import pytest

# The tests' models are tiny: threads do not help them, and on a busy machine they wait for each other for minutes.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def vllm_url(tmp_path_factory):
    """A vLLM server of the bundled policy."""
    from tests.policies.servers import vllm  # imports torch, which reads OMP_NUM_THREADS then

    with vllm(tmp_path_factory.mktemp("vllm")) as url:
        yield url


@pytest.fixture(scope="session")
def transformers_url():
    """`transformers serve`, which reads the bundled policy when asked for it."""
    from tests.policies.servers import transformers_serve

    with transformers_serve() as url:
        yield url
