"""Locust suites for deployed endpoints."""
