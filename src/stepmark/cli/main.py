"""`stepmark VERB`: finds the verb, parses its options into its dataclass, runs it, and turns errors into exit statuses.

0 done; 1 a model, server or worker failed; 2 the input is wrong; 130 interrupted.
"""

import difflib
import importlib
import os
import shlex
import sys
from collections.abc import Sequence
from typing import Any, Protocol

from stepmark import __version__
from stepmark.errors import BackendError, InputError

VERBS = {
    "demo": "the whole loop on the bundled model, from problems to a report, in minutes",
    "problems": "a file of problems: generated, or read from GSM8K's or MATH's own file",
    "sample": "solutions of problems, from a model in this process or behind a server",
    "solve": "one question, by a search that can be watched in the terminal",
    "search": "answers by a test-time strategy: beam, DVTS, REBASE, MCTS, best-of-n, ...; the whole tree is kept",
    "compare": "runs of searches on the same problems: accuracy and cost, with intervals and a report",
    "plan": "from runs of search: which strategy to take for which difficulty within which budget",
    "train": "an outcome or process reward model from recorded solutions",
    "score": "the steps of recorded solutions, by a reward model",
    "convert": "step labels and solutions from one format to another",
    "grade": "answers against gold answers",
    "evaluate": "what selection gains on a pool of candidates; ProcessBench; PRMBench",
}
"""Each verb and what it does, in the order of the help. The verb `name` is the dataclass `Name` in `stepmark.cli.name`,
which is imported only when the verb is called: the help of all verbs stays quick whatever one of them needs."""


class Verb(Protocol):
    """A frozen dataclass whose fields are the options."""

    def run(self) -> int:
        """Do it; returns the exit status."""
        ...


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line `args` (by default the process's own) and return its exit status."""
    args = sys.argv[1:] if args is None else list(args)
    name = args[0] if args else "--help"
    if name in ("-h", "--help"):
        print(_help())
        return 0
    if name == "--version":
        print(f"stepmark {__version__}")
        return 0
    if name not in VERBS:
        return _fail(2, f"there is no verb {name!r}{_nearest(name)}")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")  # ours tell more; read when transformers is imported
    try:
        return _parse(name, args[1:]).run()
    except InputError as error:
        return _fail(2, str(error))
    except BackendError as error:
        return _fail(1, str(error))
    except KeyboardInterrupt:
        command = shlex.join(["stepmark", *args])
        return _fail(130, f"interrupted. What is on record stays; to go on from there, run again:\n  {command}")


def _parse(name: str, args: Sequence[str]) -> Verb:
    """The verb with its options; tyro prints help and mistakes, and leaves by SystemExit (0 or 2). Where one option
    decides what the others are, the verb's `of` says for which class; such a verb names its groups of options itself.
    """
    import tyro

    kind = getattr(importlib.import_module(f"stepmark.cli.{name}"), name.capitalize())
    config: tuple[Any, ...] = (tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff)
    registry = None
    if hasattr(kind, "of"):
        from stepmark.cli.strategy import plans

        kind, registry = kind.of(args), plans()
    else:
        config = (tyro.conf.OmitArgPrefixes, *config)
    verb: Verb = tyro.cli(kind, prog=f"stepmark {name}", args=args, config=config, registry=registry)
    return verb


def _help() -> str:
    width = max(map(len, VERBS)) + 2
    return "\n".join(
        [
            "usage: stepmark VERB [options]",
            "",
            "Train and use verifiers that judge a solution step by step.",
            "",
            *(f"  {name:{width}}{summary}" for name, summary in VERBS.items()),
            "",
            "stepmark VERB --help tells a verb's options, stepmark --version the version.",
        ]
    )


def _nearest(name: str) -> str:
    nearest = difflib.get_close_matches(name, VERBS, n=1)
    return (f"; did you mean {nearest[0]!r}?" if nearest else "") + f" (the verbs are: {', '.join(VERBS)})"


def _fail(status: int, message: str) -> int:
    print(f"stepmark: {message}", file=sys.stderr)
    return status
