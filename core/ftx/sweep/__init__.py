"""Searching for settings: many runs of one plan, and the best of them."""
