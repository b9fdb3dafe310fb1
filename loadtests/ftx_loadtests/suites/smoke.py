"""The suite `smoke` as a locustfile: `ftx loadtest --suite smoke` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("smoke")
