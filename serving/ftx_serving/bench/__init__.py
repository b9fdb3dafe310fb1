"""Which variant of a bundle is the fastest on this machine, measured."""
