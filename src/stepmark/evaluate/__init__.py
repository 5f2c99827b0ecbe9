"""Accuracy at n, step errors, calibration, cost: the figures, with their uncertainty."""
