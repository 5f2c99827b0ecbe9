"""Answer -> verdict. The only grader: labels, rewards, votes and reports use it."""

from stepmark.grading.batch import Graded, grade_all
from stepmark.grading.extract import extract, reading
from stepmark.grading.grader import classes, equal, grade
from stepmark.grading.policy import Policy

VERSION = "1"
"""Stored with every verdict; it changes whenever a verdict can change."""

__all__ = ["VERSION", "Graded", "Policy", "classes", "equal", "extract", "grade", "grade_all", "reading"]
