"""Answer -> verdict. The only grader: labels, rewards, votes and reports use it."""

from stepmark.grading.compare import equal, grade
from stepmark.grading.extract import extract

__all__ = ["equal", "extract", "grade"]
