"""The suite `latency` as a locustfile: `ftx loadtest --suite latency` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("latency")
