"""The report of a load test: one page of HTML, tables for programs, and a file for CI."""
