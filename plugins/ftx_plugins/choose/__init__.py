"""The stage `choose`: which variant of a bundle to run on this machine."""
