"""The inputs and targets of known frequency, and the bands, that `spectrum` measures. All of this
is our choice of how to make the first paper's claim visible.

Two kinds of frequency, which are often mixed up:

- of the *target*: images lie on a closed path x(s), s in [0, 1), and the k-th target goes round k
  times, cos 2 pi k s and sin 2 pi k s. This is the frequency that theory speaks of
  (docs/theory.md): how fast the answer changes as the image does.
- of the *image*: every image holds the same power in each radial band of its Fourier transform, and
  the target of a band reads nothing but that band.
"""

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from vintk_jax.errors import UserError


class Signals(NamedTuple):
    """One experiment.

    Attributes:
        name: what is varied.
        images: standardised, (n, size, size, 3).
        targets: orthonormal within a frequency, mean zero and of norm sqrt(n) each; by frequency's
            name, (n, targets).
    """

    name: str
    images: Float[np.ndarray, "n size size 3"]
    targets: dict[str, Float[np.ndarray, "n targets"]]


def _standardised(images: Float[np.ndarray, "n size size 3"]) -> Float[np.ndarray, "n size size 3"]:
    return ((images - images.mean()) / images.std()).astype(np.float32)


def path(
    ends: Float[np.ndarray, "2 size size 3"], num_images: int, frequencies: Sequence[int]
) -> Signals:
    """Images cos(2 pi s) a + sin(2 pi s) b at equal steps of s, and a pair of targets for each
    frequency k, in cycles a round.

    Args:
        ends: a and b, two images.

    Raises:
        UserError: for a frequency that so many images can't carry.
    """
    if not frequencies or min(frequencies) < 1 or 2 * max(frequencies) >= num_images:
        raise UserError(
            f"Expected signals.cycles to be whole numbers from 1 to {(num_images - 1) // 2}, for "
            f"{num_images} images, got {tuple(frequencies)}."
        )
    s = np.arange(num_images) / num_images
    first, second = (_standardised(end[None])[0] for end in ends)
    images = (
        np.cos(2 * np.pi * s)[:, None, None, None] * first
        + np.sin(2 * np.pi * s)[:, None, None, None] * second
    )

    def pair(k):
        return np.sqrt(2) * np.stack([np.cos(2 * np.pi * k * s), np.sin(2 * np.pi * k * s)], axis=1)

    return Signals("target", _standardised(images), {f"{k} a round": pair(k) for k in frequencies})


def radial_bands(
    size: int, edges: Sequence[int | float]
) -> dict[str, Float[np.ndarray, "size size"]]:
    """Masks over the two-dimensional Fourier transform by band's name; edges in cycles per image.

    Raises:
        UserError: for edges that don't rise or a band without a frequency.
    """
    frequency = np.hypot(
        *np.meshgrid(np.fft.fftfreq(size, 1 / size), np.fft.fftfreq(size, 1 / size))
    )
    bands = {
        f"{low:g}-{high:g} an image": (frequency >= low) & (frequency < high)
        for low, high in itertools.pairwise(edges)
    }
    empty = [name for name, mask in bands.items() if not mask.any()]
    if len(edges) < 2 or empty:
        raise UserError(
            f"Expected signals.band_edges to be rising numbers up to {size // 2} with a frequency "
            f"in each band, got {tuple(edges)}."
        )
    return {name: mask.astype(float) for name, mask in bands.items()}


def bands(size: int, num_images: int, edges: Sequence[int | float], seed: int) -> Signals:
    """Images of equal power in every band, and for each band a target that reads this band alone.

    Args:
        edges: of the bands, in cycles per image.
    """
    masks = radial_bands(size, edges)
    rng = np.random.default_rng(seed)

    def of_band(mask, count):
        noise = np.fft.fft2(rng.standard_normal((count, size, size, 3)), axes=(1, 2))
        kept = np.real(np.fft.ifft2(noise * mask[..., None], axes=(1, 2)))
        return kept / kept.std()

    parts = {name: of_band(mask, num_images) for name, mask in masks.items()}
    targets = {}
    for name, mask in masks.items():
        read = np.einsum("nhwc,hwc->n", parts[name], of_band(mask, 1)[0])
        read = read - read.mean()
        targets[name] = (read / read.std())[:, None]
    return Signals("image", _standardised(sum(parts.values())), targets)
