"""A plugin for ftx: runs, metrics and bundles in MLflow."""
