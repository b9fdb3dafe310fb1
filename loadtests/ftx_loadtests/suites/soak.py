"""The suite `soak` as a locustfile: `ftx loadtest --suite soak` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("soak")
