"""Worker processes with a hard limit: asked over pipes, killed and replaced when they do not answer in time.

A worker is a program of its own, `main` below, so that nothing of the caller's `__main__` is imported again, no signal
is used, and any thread may ask. It lives until its caller's end of the pipe closes. Each bounds its own memory.
"""

import atexit
import os
import pickle
import select
import struct
import subprocess
import sys
import threading
import time
from typing import Any

START_SECONDS = 30.0
MEMORY_BYTES = 2 << 30
_PROGRAM = "from stepmark.grading.worker import main; main()"
_HEADER = struct.Struct("!I")


class WorkerFailure(Exception):
    """A worker gave no answer: it ran out of time or memory, or died. The reason is for the verdict."""


class Worker:
    """One process, one request at a time; a lock lets threads share it.

    `imports` are modules that it loads before it is ready.
    """

    def __init__(self, *imports: str) -> None:
        self._imports = imports
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def call(self, request: tuple[str, Any], seconds: float) -> Any:
        """The worker's answer to a request. Raises WorkerFailure when none came within `seconds` of its start."""
        with self._lock:
            process = self._process if self._process is not None and self._process.poll() is None else self._start()
            try:
                self._write(process, request)
                kind, answer = self._read(process, time.monotonic() + seconds)
            except (OSError, EOFError, TimeoutError) as error:
                self.stop()
                timed_out = isinstance(error, TimeoutError)
                raise WorkerFailure(f"time-out after {seconds:g} s" if timed_out else "the worker died") from error
        if kind == "error":
            raise WorkerFailure(answer)
        return answer

    def stop(self) -> None:
        """Kills the process, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            for stream in (process.stdin, process.stdout):
                if stream is not None:
                    stream.close()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        self.stop()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        self._process = process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM, *self._imports],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        try:
            self._read(process, time.monotonic() + START_SECONDS)
        except (OSError, EOFError, TimeoutError) as error:
            self.stop()
            raise WorkerFailure("a worker did not start") from error
        return process

    @staticmethod
    def _write(process: subprocess.Popen[bytes], request: Any) -> None:
        assert process.stdin is not None
        data = pickle.dumps(request)
        process.stdin.write(_HEADER.pack(len(data)) + data)
        process.stdin.flush()

    @staticmethod
    def _read(process: subprocess.Popen[bytes], deadline: float) -> Any:
        assert process.stdout is not None
        descriptor = process.stdout.fileno()

        def exactly(n: int) -> bytes:
            parts = b""
            while len(parts) < n:
                ready, _, _ = select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
                if not ready:
                    raise TimeoutError
                part = os.read(descriptor, n - len(parts))
                if not part:
                    raise EOFError
                parts += part
            return parts

        return pickle.loads(exactly(_HEADER.unpack(exactly(_HEADER.size))[0]))


_symbolic = Worker("sympy")
_inherited: list[Worker] = []


def symbolic_worker() -> Worker:
    """This process's worker for symbolic work."""
    return _symbolic


def _after_fork() -> None:
    global _symbolic  # noqa: PLW0603
    _inherited.append(_symbolic)  # the parent's: neither asked nor stopped here
    _symbolic = Worker("sympy")


os.register_at_fork(after_in_child=_after_fork)
atexit.register(lambda: _symbolic.stop())  # noqa: PLW0108 (a fork replaces it)


def main() -> None:
    """Answers requests from standard input until it closes."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    sys.setrecursionlimit(10_000)
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    except (ImportError, ValueError, OSError):
        pass

    def send(answer: tuple[str, Any]) -> None:
        data = pickle.dumps(answer)
        answers.write(_HEADER.pack(len(data)) + data)
        answers.flush()

    for name in sys.argv[1:]:
        __import__(name)
    send(("ready", None))
    while header := requests.read(_HEADER.size):
        kind, payload = pickle.loads(requests.read(_HEADER.unpack(header)[0]))
        try:
            send(("answer", _answer(kind, payload)))
        except MemoryError:
            send(("error", "out of memory"))
        except Exception as error:
            send(("error", f"{type(error).__name__} in symbolic work"))


def _answer(kind: str, payload: Any) -> Any:
    if kind == "zero":
        from stepmark.grading.symbolic import decide

        return decide(payload)
    from stepmark.grading.batch import timed

    pairs, policy, texts = payload
    return [timed(problem, answer, policy, texts=texts) for problem, answer in pairs]
