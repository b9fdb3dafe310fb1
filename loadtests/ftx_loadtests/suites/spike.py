"""The suite `spike` as a locustfile: `ftx loadtest --suite spike` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("spike")
