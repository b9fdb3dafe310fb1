"""`ftx plugins new`: a package to start a plugin from."""
