"""A plugin for ftx: a summary of a run, and the calibration error."""
