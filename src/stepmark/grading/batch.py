"""Many answers at once, over cores."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from stepmark.grading.extract import reading
from stepmark.grading.grader import grade
from stepmark.grading.policy import DEFAULT, Policy
from stepmark.grading.worker import Worker, WorkerFailure
from stepmark.types import Problem, Verdict

CHUNK = 200
SECONDS_PER_ANSWER = 10.0
"""what one answer may take in a worker before the worker is killed; the symbolic limit lies far below"""


@dataclass(frozen=True, slots=True)
class Graded:
    """A verdict and the seconds it took."""

    verdict: Verdict
    seconds: float


def grade_all(
    pairs: Sequence[tuple[Problem, str | None]], policy: Policy = DEFAULT, *, workers: int = 1, texts: bool = False
) -> list[Graded]:
    """The verdict on each answer, in order.

    `workers` above one spreads the pairs over that many processes; one grades them here. With `texts` the gold and the
    answer may each be a whole solution: each is first read with `reading`; a gold is never guessed, and a verdict on
    an answer that was says so. An answer whose worker dies or exceeds its limit is ungraded, with that reason; the
    others of its chunk are graded again.
    """
    if workers <= 1 or len(pairs) <= CHUNK:
        return [timed(problem, answer, policy, texts=texts) for problem, answer in pairs]
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    results: list[list[Graded]] = [[] for _ in chunks]
    pending = iter(range(len(chunks)))
    lock = threading.Lock()

    def work() -> None:
        worker = Worker()
        try:
            while True:
                with lock:
                    index = next(pending, None)
                if index is None:
                    return
                results[index] = _chunk(worker, chunks[index], policy, texts)
        finally:
            worker.stop()

    threads = [threading.Thread(target=work) for _ in range(min(workers, len(chunks)))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [graded for chunk in results for graded in chunk]


def timed(problem: Problem, answer: str | None, policy: Policy, *, texts: bool) -> Graded:
    """One verdict, graded here."""
    started = time.perf_counter()
    verdict = _read(problem, answer, policy) if texts else grade(problem, answer, policy)
    return Graded(verdict, time.perf_counter() - started)


def _read(problem: Problem, answer: str | None, policy: Policy) -> Verdict:
    gold, gold_rule = reading(problem.gold)
    gold = problem.gold if gold_rule == "guessed" else gold
    found, rule = (None, "whole") if answer is None else reading(answer)
    if gold is None:
        return Verdict("ungraded", "no gold answer")
    verdict = grade(Problem(problem.id, problem.question, gold, problem.source, problem.level), found, policy)
    if rule != "guessed":
        return verdict
    return Verdict(verdict.value, f"{verdict.reason} (the answer was guessed: the last value of unmarked prose)")


def _chunk(worker: Worker, chunk: Sequence[tuple[Problem, str | None]], policy: Policy, texts: bool) -> list[Graded]:
    try:
        answer: list[Graded] = worker.call(("grade", (chunk, policy, texts)), SECONDS_PER_ANSWER + 0.1 * len(chunk))
    except WorkerFailure as failure:
        if len(chunk) == 1:
            return [Graded(Verdict("ungraded", str(failure)), SECONDS_PER_ANSWER)]
        middle = len(chunk) // 2
        halves = (chunk[:middle], chunk[middle:])
        return [graded for half in halves for graded in _chunk(worker, half, policy, texts)]
    return answer
