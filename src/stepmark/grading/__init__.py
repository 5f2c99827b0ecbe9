"""Answer -> verdict. The only grader: labels, rewards, votes and reports use it."""

from stepmark.grading.compare import classes, equal, grade
from stepmark.grading.extract import extract

VERSION = "1"
"""Stored with every verdict; it changes whenever a verdict can change."""

__all__ = ["VERSION", "classes", "equal", "extract", "grade"]
