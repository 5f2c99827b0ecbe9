"""Answer -> verdict. The only grader: labels, rewards, votes and reports use it."""

from stepmark.grading.extract import extract
from stepmark.grading.grader import classes, equal, grade
from stepmark.grading.policy import Policy

VERSION = "1"
"""Stored with every verdict; it changes whenever a verdict can change."""

__all__ = ["VERSION", "Policy", "classes", "equal", "extract", "grade"]
