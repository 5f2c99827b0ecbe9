"""The command line: one verb per stage, each in a module of its own. Parse, call, print."""

from stepmark.cli.main import main

__all__ = ["main"]
