"""Which frequencies does a kernel see?

    python -m vintk_jax.spectrum --config configs/spectrum.py

Signals of known frequency, on a small ViT: how much of each lies in the leading eigenvectors of the
NTK and of the kernel on Fourier features, how fast kernel regression learns it, and how fast a
really trained network does. Writes spectrum.json, spectrum.png and spectrum.html to runs/spectrum.
docs/theory.md says what to expect and why.
"""

import ml_collections

from vintk_jax.defaults.spectrum import spectrum


def get_config() -> ml_collections.ConfigDict:
    """A ViT of four blocks at 32 px, on photographs and on noise of known bands."""
    return spectrum()
