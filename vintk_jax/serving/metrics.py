"""What the service counts, for Prometheus."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.metrics_core import HistogramMetricFamily

_SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)
_IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Many:
    """A histogram that takes many values at a time, which prometheus_client's own doesn't.

    Args:
        name, about: of the metric.
        bounds: of the buckets, ascending.
        registry: that it belongs to.
    """

    def __init__(self, name: str, about: str, bounds: Sequence[int | float], registry: Any):
        self._name = name
        self._about = about
        self._bounds = np.array(bounds, float)
        self._counts = np.zeros(len(bounds) + 1, int)
        self._sum = 0.0
        registry.register(self)

    def observe(self, values: Float[np.ndarray, " n"]) -> None:
        """Count values."""
        places = np.searchsorted(self._bounds, values)
        self._counts += np.bincount(places, minlength=len(self._counts))
        self._sum += float(values.sum())

    def collect(self) -> Iterator[Any]:
        """What prometheus_client asks of a collector."""
        names = [*map(str, self._bounds.tolist()), "+Inf"]
        buckets = list(zip(names, np.cumsum(self._counts).tolist(), strict=True))
        yield HistogramMetricFamily(self._name, self._about, buckets, self._sum)


class Metrics:
    """Counters of one service."""

    def __init__(self):
        disable_created_metrics()  # the time of each counter's start, which nobody asked for
        self._registry = CollectorRegistry()

        def made(
            kind: Any, name: str, about: str, labels: tuple[str, ...] = (), **more: Any
        ) -> Any:
            return kind(f"vintk_{name}", about, labels, registry=self._registry, **more)

        self.requests = made(
            Counter, "requests", "Requests that were answered.", ("route", "status")
        )
        self.connections_refused = made(
            Counter,
            "connections_refused",
            "Connections that were ended ahead of a request: too many, too slow, no HTTP.",
            ("status",),
        )
        self.request_seconds = made(
            Histogram,
            "request_seconds",
            "From a request's header to its answer.",
            ("route",),
            buckets=_SECONDS,
        )
        self.images = made(
            Counter, "images", "Images that were answered, by their length.", ("length",)
        )
        self.waited = Many(
            "vintk_waited_seconds", "An image waits in all.", _SECONDS, self._registry
        )
        self.run = Many("vintk_run_seconds", "An image runs in all.", _SECONDS, self._registry)
        self.passes = made(
            Histogram,
            "pass_seconds",
            "A batch runs, from the device's queue to its end.",
            ("step",),
            buckets=_SECONDS,
        )
        self.pass_images = made(
            Histogram, "pass_images", "Images in a batch.", ("step",), buckets=_IMAGES
        )
        self.queued = made(Gauge, "queue_images", "Images that were accepted and not answered.")
        self.ready = made(Gauge, "ready", "1 while the model answers.")
        self.worker_starts = made(Counter, "worker_starts", "Starts of the worker.")
        self.decoder_restarts = made(Gauge, "decoder_restarts", "Decoders that were replaced.")
        self.drift = made(
            Gauge,
            "drift_distance",
            "Total variation between what comes and what calibration saw.",
            ("of",),
        )
        self.drift_limit = made(
            Gauge, "drift_limit", "The distance from which on it is a warning.", ("of",)
        )
        self.drift_beyond = made(Gauge, "drift_beyond", "1 while a distance is beyond its limit.")
        self.drift_images = made(Gauge, "drift_images", "Images that are compared.")

    def text(self) -> bytes:
        """All of them in Prometheus's text format."""
        return generate_latest(self._registry)

    def take_drift(self, drift: dict[str, Any]) -> None:
        """What the worker says of the comparison with calibration."""
        for of in ("lengths", "confidences"):
            self.drift.labels(of).set(drift[of])
            self.drift_limit.labels(of).set(drift[f"{of}_limit"])
        self.drift_beyond.set(drift["beyond"])
        self.drift_images.set(drift["images"])
