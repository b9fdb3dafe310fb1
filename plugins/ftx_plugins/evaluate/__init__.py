"""The stage `evaluate`: quality, changed labels, latency and size of a model, against the reference."""
