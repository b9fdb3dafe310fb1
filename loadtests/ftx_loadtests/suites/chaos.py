"""The suite `chaos` as a locustfile: `ftx loadtest --suite chaos` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("chaos")
