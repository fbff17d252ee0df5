"""What a server counts of itself, written in the form that Prometheus reads."""

from __future__ import annotations

from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Limits of the histogram's buckets: a vote on one row takes one millisecond, and a request 60 s at most."""


class Measurements:
    """Count requests, samples and seconds of one server.

    Parameters
    ----------
    waiting : callable
        Returns how many requests are inside.
    """

    def __init__(self, waiting: Callable[[], float]) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        self.requests = Counter(
            "labelstack_requests", "Requests by page and status.", ["page", "status"], registry=self._registry
        )
        self.seconds = Histogram(
            "labelstack_request_seconds", "Seconds of a request to /predict, reading and waiting included.",
            registry=self._registry, buckets=SECONDS,
        )  # fmt: skip
        self.samples = Counter("labelstack_samples", "Samples that were labeled.", registry=self._registry)
        inside = Gauge("labelstack_requests_inside", "Requests read, waiting or computed.", registry=self._registry)
        inside.set_function(waiting)

    def text(self) -> bytes:
        """Write all of it.

        Returns
        -------
        bytes
            Prometheus' text format, version 1.0.0.
        """
        return generate_latest(self._registry)
