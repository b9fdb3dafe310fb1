"""A plugin for ftx: k-means weight sharing."""
