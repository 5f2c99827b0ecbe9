"""The thread that computes, one for all engines of the process."""

import threading
from collections import deque
from collections.abc import Callable

import torch

from stepmark.engine.openmp import release_threads


class Worker:
    """Runs the rounds of engines, one round of each at a time, in a thread that lives while one of them has work.

    A policy and a reward model that work for one search take turns, since two threads that compute would each have
    threads for matrix products, more than there are processors; and each would wait for the other's Python.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rounds: deque[Callable[[], bool]] = deque()
        self._thread: threading.Thread | None = None

    def take_up(self, one_round: Callable[[], bool]) -> None:
        """Calls `one_round` for as long as it returns True. It must not raise."""
        with self._lock:
            self._rounds.append(one_round)
            if self._thread is None:
                release_threads()
                self._thread = threading.Thread(target=self._work, name="stepmark-engines")
                self._thread.start()

    def _work(self) -> None:
        with torch.inference_mode():
            while (one_round := self._next()) is not None:
                if one_round():
                    self._rounds.append(one_round)

    def _next(self) -> Callable[[], bool] | None:
        """None when there is nothing left to do, and then the thread has signed off."""
        with self._lock:
            if self._rounds:
                return self._rounds.popleft()
            self._thread = None
            return None


WORKER = Worker()
