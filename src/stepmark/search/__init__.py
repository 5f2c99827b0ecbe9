"""Choosing an answer with test-time compute. One module per method."""
