"""Figures of quality for text classification."""
