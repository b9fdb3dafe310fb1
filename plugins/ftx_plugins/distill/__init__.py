"""The stage `distill`: a smaller model learns what a larger one, or an ensemble, knows."""
