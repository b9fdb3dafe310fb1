pytest_plugins = ["ftx.testing"]
