"""The command line's frame: help, mistakes that teach, and errors as exit statuses."""

import importlib
import sys
from dataclasses import dataclass, is_dataclass
from types import ModuleType
from typing import get_args, get_type_hints

import pytest

import stepmark
from stepmark.cli import main
from stepmark.errors import BackendError, InputError, RecordError, ScoreError

frame = importlib.import_module("stepmark.cli.main")


@dataclass(frozen=True)
class Demo:
    """A verb that fails as it is told."""

    error: str = ""
    """what to raise"""

    def run(self) -> int:
        raises = {
            "input": InputError("no gold", path="x.jsonl", line=3, remedy="fill it in"),
            "record": RecordError("torn"),
            "score": ScoreError("NaN"),
            "backend": BackendError("the server is gone"),
            "interrupt": KeyboardInterrupt(),
            "bug": ZeroDivisionError("a bug"),
        }
        if self.error:
            raise raises[self.error]
        return 0


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch) -> None:
    """The frame with one verb, `demo`, which is the class above."""
    module = ModuleType("stepmark.cli.demo")
    module.Demo = Demo  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "stepmark.cli.demo", module)
    monkeypatch.setattr(frame, "VERBS", {"demo": "fails as told"})


@pytest.mark.parametrize("args", [[], ["--help"], ["-h"]])
def test_help_lists_every_verb(args: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(args) == 0
    out = capsys.readouterr().out
    assert all(name in out and summary in out for name, summary in frame.VERBS.items())


@pytest.mark.parametrize("name", frame.VERBS)
def test_every_verb_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of its sub-verbs too, so that no help fails only when somebody asks for it."""
    verb = getattr(importlib.import_module(f"stepmark.cli.{name}"), name.capitalize())
    assert is_dataclass(verb)
    assert verb.__doc__
    help_of(capsys, name)
    for alternative in [a for hint in get_type_hints(verb, include_extras=True).values() for a in get_args(hint)]:
        for config in getattr(alternative, "__metadata__", ()):
            if sub := getattr(config, "name", None):
                help_of(capsys, name, sub)


def help_of(capsys: pytest.CaptureFixture[str], *verb: str) -> None:
    with pytest.raises(SystemExit) as leaving:
        main([*verb, "--help"])
    assert leaving.value.code == 0
    assert f"stepmark {' '.join(verb)}" in capsys.readouterr().out


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        ("", 0, ""),
        ("input", 2, "stepmark: x.jsonl:3: no gold (fill it in)\n"),
        ("record", 2, "stepmark: torn\n"),
        ("score", 2, "stepmark: NaN\n"),
        ("backend", 1, "stepmark: the server is gone\n"),
        ("interrupt", 130, "run again:\n  stepmark demo --error interrupt\n"),
    ],
)
def test_errors_become_a_message_and_a_status(
    error: str, status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What stepmark raises on purpose is told in its own words; the message alone goes to stderr, nothing to stdout."""
    assert main(["demo", "--error", error]) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.endswith(message)
    assert "Traceback" not in captured.err


@pytest.mark.usefixtures("demo")
def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError):
        main(["demo", "--error", "bug"])


@pytest.mark.usefixtures("demo")
def test_a_mistyped_command_line_teaches(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dmeo"]) == 2
    assert "did you mean 'demo'?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "the verbs are: demo" in capsys.readouterr().err
    with pytest.raises(SystemExit) as leaving:
        main(["demo", "--eror", "x"])
    assert leaving.value.code == 2
    assert "--error" in capsys.readouterr().err


def test_the_version_is_the_package_s(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"stepmark {stepmark.__version__}\n"
