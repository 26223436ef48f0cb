"""Weights that others have trained, in our models."""

from vintk_jax.weights.load import load_weights
from vintk_jax.weights.start import weights_reader

__all__ = ["load_weights", "weights_reader"]
