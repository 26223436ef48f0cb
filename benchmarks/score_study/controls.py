"""What ViNTK is held against on the same rows: its form without a network and without images, and
on Fourier features in place of the plain images.

    python -m vintk_jax.rank --config configs/rank.py --config.table=FILE \
        --config.proxies=vintk,benchmarks.score_study.controls:GAUSSIAN
"""

import math
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.proxies.base import Measurement, Proxy
from vintk_jax.proxies.costs import FLOPS
from vintk_jax.proxies.kernels import WEIGHT, vintk_kernel

IMAGES = 48


def tokens_of(arch: Any) -> int:
    """Of a patch of 16 pixels at 64 px; of cifar-vit, at its own 32 px."""
    patch = getattr(arch, "patch_size", None)
    return 17 if patch is None else (32 // patch) ** 2 + 1


def gaussian_kernel(space: Any, arch: Any) -> Float[np.ndarray, "n n"]:
    """The kernel of linear layers of the architecture's shapes whose inputs and cotangents are
    Gaussian matrices, each layer with the same trace; drawn with seed 0.
    """
    rng = np.random.default_rng(0)
    tokens = tokens_of(arch)
    total = np.zeros((IMAGES, IMAGES))
    for block in space.blocks(arch):
        inner = sum(heads * width for heads, width in block.attentions)
        shapes = [(block.embed, block.hidden), (block.hidden, block.embed)]
        shapes += [(block.embed, 3 * inner), (inner, block.embed)] if inner else []
        for rows, columns in shapes:
            x = rng.standard_normal((IMAGES, rows, tokens), np.float32)
            d = rng.standard_normal((IMAGES, tokens, columns), np.float32)
            gradients = (x @ d).reshape(IMAGES, -1)
            total += gradients @ gradients.T / (rows * columns * tokens)
    return total


def _with_cost(measured: Any) -> float:
    return math.log(measured["flops"]) + WEIGHT * vintk_kernel({"plain": measured["gaussian"]})


GAUSSIAN = Proxy(
    "gaussian", (Measurement("gaussian", "architecture", gaussian_kernel), FLOPS), _with_cost
)


def _of_features(measured: Any) -> float:
    return math.log(measured["flops"]) + WEIGHT * vintk_kernel({"plain": measured["fourier"]})


FOURIER = Proxy("vintk_on_features", (Measurement("fourier", "kernel"), FLOPS), _of_features)
