"""The suite `saturation` as a locustfile: `ftx loadtest --suite saturation` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("saturation")
