"""The suite `ab` as a locustfile: `ftx loadtest --suite ab` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("ab")
