"""Runtimes, the predictor and the server. Imports neither torch nor transformers."""
