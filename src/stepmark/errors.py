"""What stepmark raises.

StepmarkError
├── InputError          something the user gave is wrong; the command line exits with status 2
│   ├── RecordError     a record file or a run directory is broken
│   ├── ScoreError      scores do not fit the steps: their number differs, or one is not a number
│   ├── ReplayError     what is asked of a recorded search does not follow from it
│   ├── TooLongError    a text does not fit into a model's context; it is never cut
│   └── UnreadableError a solution that a reward model cannot be shown: a blank step, a special token in its text
└── BackendError        a model, a server or a worker failed; the request has no result
"""

from os import PathLike


class StepmarkError(Exception):
    """Any error that stepmark raises on purpose."""


class InputError(StepmarkError):
    """Input that cannot be used. The message names the file and line, where there is one, and the remedy."""

    def __init__(
        self,
        problem: str,
        *,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.path = path
        self.line = line
        self.remedy = remedy
        place = "" if path is None else f"{path}: " if line is None else f"{path}:{line}: "
        super().__init__(f"{place}{problem}" + (f" ({remedy})" if remedy else ""))


class RecordError(InputError):
    """A record file or a run directory that cannot be trusted."""


class ScoreError(InputError):
    """Step scores that do not fit the steps they are for."""


class ReplayError(InputError):
    """A setting whose result does not follow from the record of a search with other settings."""


class TooLongError(InputError):
    """A text with more tokens than the model reads."""


class UnreadableError(InputError):
    """A solution that a reward model cannot be shown: a step is blank, or a special token stands in its text."""


class BackendError(StepmarkError):
    """A model, a server or a worker failed. Nothing was scored in its place."""
