"""The suite `mixed` as a locustfile: `ftx loadtest --suite mixed` runs it, and so does `locust -f`."""

from ftx_loadtests.driver import LoadGenerator, use

__all__ = ["LoadGenerator"]

use("mixed")
