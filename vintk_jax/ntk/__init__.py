"""Empirical neural tangent kernels of networks at initialisation."""

from vintk_jax.ntk.kernel import (
    COTANGENTS,
    IMPLEMENTATIONS,
    by_layer,
    by_type,
    directions,
    kernel,
)

__all__ = ["COTANGENTS", "IMPLEMENTATIONS", "by_layer", "by_type", "directions", "kernel"]
