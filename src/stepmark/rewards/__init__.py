"""Reward models: whatever scores the steps of a solution, and how one is trained.

Nothing is imported here, so that `stepmark.rewards.base` stays free of torch; the modules of models and of
their training need it.
"""
