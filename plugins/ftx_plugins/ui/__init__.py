"""`ftx ui`: the project's store as pages in a browser."""
