"""A policy or a reward model in several processes, each with a model of its own and its share of the processor.

A small model gains little from threads: they share products that are small already, and wait for each other and for one
Python. Two processes of one thread each take two thirds of the time of one with two threads (docs/log.md).
"""

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from itertools import count
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any, TypeVar

from stepmark.errors import BackendError, InputError, StepmarkError
from stepmark.types import Completion, Prefix, Sampling, StepScores

M = TypeVar("M")

CANCEL, END = "cancel", "end"
PATIENCE = 10.0
"""seconds that a process has to end when it is told to"""


class Processes:
    """As policy what `load` makes is as policy, and as reward model what it is as that: the same samples and scores.

    All that concerns a problem is computed by one process, so that its prefixes stay shared; a new problem goes to the
    process with the fewest requests. Costs are exact, but what two problems have in common is computed twice. A process
    that ends before its time fails its requests and all later ones with a BackendError; if this process is killed,
    the others end too.

    Processes are spawned: they import the main module, so a script must keep its work under `if __name__ ==
    "__main__"`.
    """

    def __init__(self, load: Callable[[], Any], processes: int, *, threads: int) -> None:
        """`load` is called in each of the processes, which have `threads` threads together: a function of a module, or
        a `functools.partial` of one. Raises what it raises, once all that started have ended."""
        context = multiprocessing.get_context("spawn")
        with _environment("OMP_NUM_THREADS", str(max(1, threads // processes))):
            self._members = [_Member(context, load) for _ in range(processes)]
        self._of: dict[str, _Member] = {}
        try:
            for member in self._members:
                member.await_start()
        except BaseException:
            self.close()
            raise

    async def sample(self, prefix: Prefix, n: int, sampling: Sampling) -> list[Completion]:
        """See `Policy.sample`. A cancelled call frees its rows."""
        drawn: list[Completion] = await self._ask("sample", prefix, n, sampling)
        return drawn

    async def score(self, prefix: Prefix) -> StepScores:
        """See `RewardModel.score`."""
        scored: StepScores = await self._ask("score", prefix)
        return scored

    async def _ask(self, name: str, prefix: Prefix, *more: Any) -> Any:
        member = self._of.get(prefix.problem.id)
        if member is None:
            member = self._of[prefix.problem.id] = min(self._members, key=lambda one: len(one.waiting))
        return await asyncio.wrap_future(member.ask(name, prefix, *more))

    def close(self) -> None:
        """Ends the processes; callers that still wait, and later ones, get a BackendError."""
        for member in self._members:
            member.tell_to_end()
        for member in self._members:
            member.close()


def spread(load: Callable[..., M], processes: int, *, memory: int) -> M | Processes:
    """What `load` makes: here, or in several processes that share the threads of this one. `memory` is the limit of all
    their keys and values together, in bytes; `load` is told each one's part."""
    import torch  # not above: a process reads this module before it is said what to load

    if processes < 1:
        raise InputError(f"{processes} processes compute nothing", remedy="at least 1")
    if processes == 1:
        return load(memory=memory)
    return Processes(partial(load, memory=memory // processes), processes, threads=torch.get_num_threads())


class _Member:
    """One process, from outside."""

    def __init__(self, context: SpawnContext, load: Callable[[], Any]) -> None:
        self.connection, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, load), daemon=True)
        self.process.start()
        there.close()
        self.waiting: dict[int, Future[Any]] = {}
        self._numbers = count()
        self._lock = threading.Lock()
        self._ended: str | None = None
        self._reader = threading.Thread(target=self._read, daemon=True)

    def await_start(self) -> None:
        """Raises what loading raised."""
        try:
            error = self.connection.recv()
        except EOFError:
            raise BackendError("a process ended while it loaded its model (is there memory for another?)") from None
        if error is not None:
            raise error
        self._reader.start()

    def ask(self, name: str, *arguments: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        with self._lock:
            if self._ended is not None:
                raise BackendError(self._ended)
            number = next(self._numbers)
            self.waiting[number] = future
            with suppress(OSError):  # the reader will see that the process has ended
                self.connection.send((number, name, arguments))
        future.add_done_callback(lambda done: self._give_up(number) if done.cancelled() else None)
        return future

    def _give_up(self, number: int) -> None:
        with self._lock, suppress(OSError):
            if self.waiting.pop(number, None) is not None:
                self.connection.send((number, CANCEL, ()))

    def _read(self) -> None:
        with suppress(EOFError, OSError):
            while True:
                number, value, error = self.connection.recv()
                _resolve(self.waiting.pop(number, None), value, error)
        self.process.join()
        with self._lock:
            self._ended = self._ended or f"a process of the model ended with exit code {self.process.exitcode}"
            left = list(self.waiting.values())
            self.waiting.clear()
        for future in left:
            _resolve(future, None, BackendError(self._ended))

    def tell_to_end(self) -> None:
        with self._lock, suppress(OSError):
            self._ended = self._ended or "the processes of the model are closed"
            self.connection.send((0, END, ()))

    def close(self) -> None:
        self.process.join(PATIENCE)
        self.process.kill()
        self.process.join()
        if self._reader.is_alive():
            self._reader.join()
        self.connection.close()


def _resolve(future: "Future[Any] | None", value: Any, error: Exception | None) -> None:
    if future is None or not future.set_running_or_notify_cancel():
        return  # given up meanwhile
    if error is not None:
        future.set_exception(error)
    else:
        future.set_result(value)


def _serve(connection: Connection, load: Callable[[], Any]) -> None:
    """What a process does: it says None, or why it cannot load, and answers until nobody is there to ask."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the keyboard interrupts the process that asks; it ends this one
    try:
        backend = load()
    except Exception as error:
        connection.send(_told(error))
        return
    connection.send(None)
    with suppress(OSError):
        asyncio.run(_answer(connection, backend))
    backend.close()


async def _answer(connection: Connection, backend: Any) -> None:
    running: dict[int, asyncio.Task[None]] = {}

    async def answer(number: int, name: str, arguments: tuple[Any, ...]) -> None:
        reply: tuple[int, Any, Exception | None]
        try:
            reply = (number, await getattr(backend, name)(*arguments), None)
        except Exception as error:
            reply = (number, None, _told(error))
        finally:
            del running[number]
        connection.send(reply)

    loop = asyncio.get_running_loop()
    with suppress(EOFError):
        while True:
            number, name, arguments = await loop.run_in_executor(None, connection.recv)
            if name == END:
                return
            if name != CANCEL:
                running[number] = loop.create_task(answer(number, name, arguments))
            elif number in running:
                running[number].cancel()


def _told(error: Exception) -> Exception:
    """The error as it crosses to another process."""
    return error if isinstance(error, StepmarkError) else BackendError(f"{type(error).__name__}: {error}")


@contextmanager
def _environment(name: str, value: str) -> Iterator[None]:
    """For processes that start meanwhile."""
    before = os.environ.get(name)
    os.environ[name] = value
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
