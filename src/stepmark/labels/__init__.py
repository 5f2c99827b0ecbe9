"""Ratings of steps without people: by rollouts."""

from stepmark.labels.rollout import Rollout, RolloutLabels, distinct, hard, label, roll_out, soft

__all__ = ["Rollout", "RolloutLabels", "distinct", "hard", "label", "roll_out", "soft"]
