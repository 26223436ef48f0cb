"""Weights that others have trained, in our models."""

from vintk_jax.weights.load import load_weights

__all__ = ["load_weights"]
