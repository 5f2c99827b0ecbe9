"""Policies: language models that write steps."""
