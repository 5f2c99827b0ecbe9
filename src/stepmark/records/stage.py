"""One stage of a run: what is not on record is computed, many jobs at once, and recorded as it is finished."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from stepmark.errors import InputError
from stepmark.records.run import Run
from stepmark.types import Cost


class Keyed(Protocol):
    """A record about one solution, and what it cost."""

    @property
    def problem_id(self) -> str: ...

    @property
    def index(self) -> int: ...

    @property
    def cost(self) -> Cost: ...


Key = tuple[str, int]
R = TypeVar("R", bound=Keyed)


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """Work that yields the records of `keys`, (problem id, sample index), all of them."""

    keys: tuple[Key, ...]
    work: Callable[[], Awaitable[Sequence[R]]]


async def complete(
    run: Run,
    name: str,
    kind: type[R],
    jobs: Sequence[Job[R]],
    *,
    title: str,
    at_once: int = 256,
    unit: str = "solutions",
    spent: Callable[[R], Cost] = lambda record: record.cost,
    aside: Callable[[R], str] = lambda record: "",
) -> list[R]:
    """The records of all jobs, in the order of the jobs' keys: those in the run's record file `name`, and those that
    had to be computed, by `at_once` jobs at a time.

    A job of which a record is missing is done again whole; only what is missing is appended. The first error ends the
    stage, after the jobs that still run were cancelled; what is on record stays. On a terminal a bar shows the jobs,
    the `pace` of the new records by what each `spent`, what was last said `aside` of a record, and the time left.
    Raises InputError where two jobs have the same key: their records could not be told apart.
    """
    keys = [key for job in jobs for key in job.keys]
    if len(set(keys)) < len(keys):
        raise InputError("two problems have the same id", remedy="ids name the records; make them unique")
    found: dict[Key, R] = {(record.problem_id, record.index): record for record in run.read(name, kind)}
    missing = iter([job for job in jobs if not found.keys() >= set(job.keys)])
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[pace]}"))
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    began, new, cost, said = time.monotonic(), 0, Cost(), ""
    for key in keys:
        said = aside(found[key]) if key in found else said
    with Progress(*columns, *times, console=console, disable=not console.is_terminal) as progress:
        done = sum(found.keys() >= set(job.keys) for job in jobs)
        bar = progress.add_task(title, total=len(jobs), completed=done, pace="")

        async def work() -> None:
            nonlocal new, cost, said
            for job in missing:
                for record in await job.work():
                    key = (record.problem_id, record.index)
                    if key not in found:
                        run.append(name, record)
                        found[key] = record
                        new, cost, said = new + 1, cost + spent(record), aside(record)
                progress.update(bar, advance=1, pace=pace(new, cost, time.monotonic() - began, unit) + said)

        workers = [asyncio.create_task(work()) for _ in range(at_once)]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
    return [found[key] for key in keys]


def pace(count: int, spent: Cost, seconds: float, unit: str = "solutions") -> str:
    """Solutions, or what the `unit` is, and new tokens (generated and scored) per second, and of the tokens to be read
    the share that came from a cache."""
    seconds = max(seconds, 1e-9)
    read = spent.prompt + spent.cached + spent.scored
    cached = f", {spent.cached / read:.0%} cached" if read else ""
    return f"{count / seconds:,.1f} {unit}/s, {(spent.generated + spent.scored) / seconds:,.0f} tokens/s{cached}"
