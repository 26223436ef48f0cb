"""What is measured: sizes of models and batches, the data, the operations they take. Imports
neither JAX nor PyTorch by itself.
"""

from typing import NamedTuple

import numpy as np

NUM_CLASSES = 1000


class Case(NamedTuple):
    """The widest architecture of a space on a batch of square images."""

    space: str
    image_size: int
    images: int

    def __str__(self) -> str:
        return (
            f"{self.space.removeprefix('autoformer-')} {self.image_size} px, {self.images} images"
        )


CASES = [
    Case(space, size, n)
    for size, n in ((64, 16), (224, 16), (64, 64))
    for space in ("autoformer-tiny", "autoformer-small")
]


def data(
    images: int, image_size: int, channels: int = 3, classes: int = NUM_CLASSES
) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, height, width, channels) of noise and one direction over the classes from N(0, I /
    classes), float32.
    """
    rng = np.random.default_rng(0)
    batch = rng.standard_normal((images, image_size, image_size, channels), np.float32)
    return batch, rng.standard_normal(classes, np.float32) * np.float32(classes**-0.5)


def widest(space):
    """The widest, deepest architecture of an AutoFormer space."""
    depth = max(space.depth)
    fields = {
        "num_heads": [max(space.num_heads)] * depth,
        "mlp_ratio": [max(space.mlp_ratio)] * depth,
    }
    return space.from_json({"embed_dim": max(space.embed_dim), "depth": depth, **fields})


def torch_config(arch, image_size: int, channels: int = 3, classes: int = NUM_CLASSES) -> dict:
    """The fields of `torch_autoformer.Config` for an architecture of an AutoFormer space."""
    fields = {"embed_dim": arch.embed_dim, "num_heads": arch.num_heads, "hidden": arch.hidden}
    return {**fields, "grid": image_size // 16, "in_channels": channels, "num_classes": classes}


def counted_macs(case: Case) -> dict[str, int]:
    """Multiply-adds of a kernel: the forward pass, the gradient of the inputs (taken as many), the
    contraction of the linear layers.
    """
    from vintk_jax import spaces
    from vintk_jax.ntk.contractions import linear_macs

    space = spaces.get(case.space)
    arch = widest(space)
    n = case.images
    grid = case.image_size // 16
    forward = n * space.cost(arch, case.image_size, NUM_CLASSES).flops
    e = arch.embed_dim
    tokens = grid**2 + 1
    contraction = linear_macs(n, grid**2, 16 * 16 * 3, e) + linear_macs(n, 1, e, NUM_CLASSES)
    for heads, hidden in zip(arch.num_heads, arch.hidden, strict=True):
        width = 64 * heads
        for a, b in ((e, 3 * width), (width, e), (e, hidden), (hidden, e)):
            contraction += linear_macs(n, tokens, a, b)
    return {"forward": forward, "input_gradient": forward, "contraction": contraction}
