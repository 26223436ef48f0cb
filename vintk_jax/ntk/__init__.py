"""Empirical neural tangent kernels of networks at initialisation."""

from vintk_jax.ntk.kernel import COTANGENTS, IMPLEMENTATIONS, directions, kernel

__all__ = ["COTANGENTS", "IMPLEMENTATIONS", "directions", "kernel"]
