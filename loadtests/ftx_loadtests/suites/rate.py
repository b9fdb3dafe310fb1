"""The suite `rate` as a locustfile: `ftx loadtest --suite rate` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("rate")
