"""The stage `augment`: more training rows out of those that are there; validation and test rows stay as they are."""
