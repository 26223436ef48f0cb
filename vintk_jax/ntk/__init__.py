"""Empirical neural tangent kernels of networks at initialisation."""

from vintk_jax.ntk.cotangents import COTANGENTS, directions
from vintk_jax.ntk.kernel import IMPLEMENTATIONS, by_layer, by_type, kernel, structure_of

__all__ = [
    "COTANGENTS",
    "IMPLEMENTATIONS",
    "by_layer",
    "by_type",
    "directions",
    "kernel",
    "structure_of",
]
