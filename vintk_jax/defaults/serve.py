"""A trained model served over HTTP."""

import dataclasses

import ml_collections

from vintk_jax.defaults.adaptive import BUDGET, COMPARISON
from vintk_jax.defaults.compile_cache import COMPILE_CACHE
from vintk_jax.defaults.export import EXPORT
from vintk_jax.defaults.field import Field, filled
from vintk_jax.defaults.predicting import CHECKPOINT
from vintk_jax.defaults.rules import (
    AT_LEAST_TWO,
    BATCH_SIZES,
    CHECKED_WHERE_USED,
    COUNT,
    POSITIVE,
    SHARE,
    whole,
)

HTTP = {
    "http.host": Field(
        "127.0.0.1",
        "address to listen at; 0.0.0.0 or :: for every one of this machine, which needs a token",
        CHECKED_WHERE_USED,
    ),
    "http.port": Field(8000, "port to listen at; 0: any that is free", whole(0, 65535)),
    "http.hosts": Field(
        (),
        "further names that requests may call the service by (their header Host); '*' for any",
        CHECKED_WHERE_USED,
    ),
    "http.name": Field(
        "", "the model's name in addresses; empty: the workdir's", CHECKED_WHERE_USED
    ),
    "http.token_file": Field(
        "",
        "file with the token that everything but health asks for; empty: the variable "
        "VINTK_SERVE_TOKEN, or none where that is empty too",
        CHECKED_WHERE_USED,
    ),
    "http.open": Field(False, "serve others than this machine without a token", CHECKED_WHERE_USED),
}

LIMITS = {
    "limits.queue": Field(1024, "images in work at most; beyond it requests get 429", COUNT),
    "limits.images": Field(256, "images in a request", COUNT),
    "limits.body_mb": Field(32.0, "megabytes (10^6 bytes) of a request's body", POSITIVE),
    "limits.bodies_mb": Field(256.0, "megabytes of all bodies that are held", POSITIVE),
    "limits.pixels_m": Field(50.0, "millions of pixels of a picture, by its header", POSITIVE),
    "limits.seconds": Field(
        30.0, "seconds from a request's header to its answer; beyond it, it gets 504", POSITIVE
    ),
    "limits.header_seconds": Field(10.0, "seconds that a request's header may take", POSITIVE),
    "limits.body_seconds": Field(20.0, "seconds that a request's body may take", POSITIVE),
    "limits.connections": Field(512, "connections that are open at a time", COUNT),
}

DECODING = {
    "decoding.processes": Field(2, "processes that open pictures", COUNT),
    "decoding.seconds": Field(10.0, "seconds that they may take for a request", POSITIVE),
    "decoding.memory_mb": Field(1024.0, "megabytes that each may take for a request", POSITIVE),
}

DRIFT = {
    "drift.images": Field(
        1000,
        "latest images whose lengths and confidences are compared with calibration's",
        AT_LEAST_TWO,
    ),
    "drift.distance": Field(
        0.15,
        "share of images (total variation) by which they may differ, beyond what chance explains, "
        "before metrics and page warn",
        SHARE,
    ),
}

SERVE = {
    **CHECKPOINT,
    "adaptive": EXPORT["adaptive"],
    **BUDGET,
    "budget.max_drop": EXPORT["budget.max_drop"],
    **HTTP,
    "engine.max_wait_ms": dataclasses.replace(COMPARISON["engine.max_wait_ms"], default=1.0),
    "engine.batch_sizes": Field(
        (1, 8, 64), "batch sizes that programs are compiled for", BATCH_SIZES
    ),
    **LIMITS,
    **DECODING,
    **DRIFT,
    **COMPILE_CACHE,
}


def serve() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.serve`: for this machine alone."""
    return filled(SERVE)
