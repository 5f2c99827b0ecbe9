"""`stepmark demo`: the whole loop on the bundled model."""

from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Demo:
    """The whole loop on the bundled model, from problems to a report, in minutes on a laptop.

    The bundled policy solves word problems; rollouts rate its steps; an outcome (ORM) and a process reward model (PRM)
    learn from the same solutions, and choose among fresh candidates. Run again after an interruption, it goes on.
    """

    out: Path = Path("demo")
    """the run's directory, in which the report is written"""
    quick: bool = False
    """a smaller loop in under two minutes, with wider intervals; has a directory of its own, OUT-quick"""
    seed: int = 0
    """of problems, samples and training"""

    def run(self) -> int:
        import asyncio
        import time

        from rich.console import Console

        from stepmark.loop import Settings, loop
        from stepmark.report import write
        from stepmark.report.loop import report

        console = Console(highlight=False)
        began = time.monotonic()

        def say(line: str) -> None:
            console.print(f"{time.monotonic() - began:5.0f} s  {line}", soft_wrap=True)

        settings = Settings(seed=self.seed)
        if self.quick:
            settings = replace(settings, problems=60, solutions=6, rollouts=6, tests=48, candidates=32)
        out = self.out.with_name(self.out.name + "-quick") if self.quick else self.out
        say("imports done; everything is recorded, and an interrupted demo goes on where it was")
        result = asyncio.run(loop(out, settings, say))
        page = report(result, settings, command="stepmark demo" + (" --quick" if self.quick else ""))
        path = write(page, out / "report")
        say(f"the report is {path}")
        console.print(page.headline, style="bold", soft_wrap=True)
        return 0
