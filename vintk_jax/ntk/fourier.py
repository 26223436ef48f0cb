"""Random Fourier features of the inputs: how ViNTK lets the kernel see high frequencies. (The
frequency bands of `spectrum` are in `spectral.frequencies`.)

For v in R^d and B in R^(m x d) with entries from N(0, sigma^2), v becomes [cos 2 pi B v, sin 2 pi B
v] in R^(2m) (Rahimi and Recht 2007; Tancik et al. 2020, arXiv 2006.10739). Inner products of
features then approximate exp(-2 pi^2 sigma^2 |v - v'|^2), so sigma is the inverse length at which
inputs begin to look different: the larger, the higher the frequencies that count. That ViNTK uses
such features is the paper's (arXiv 2405.04536, abstract); which v, and sigma and m, are our
choices:

- pixel: v is a pixel's colour; 3 channels become 2m. High frequencies in value, none added in
  space.
- patch: v is a whole patch of 16 x 16 pixels; its 2m features are laid back out as a patch of 2m /
  256 channels.
- coords: v is a pixel's position in [0, 1]^2; 2m channels are appended to the image. High
  frequencies in space.

Clips are mapped likewise; a position is then that in the clip, in [0, 1]^3 with the time ahead, so
that there are high frequencies in time too.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.errors import UserError

MODES = ("pixel", "patch", "coords")
PATCH = 16


def features(
    v: Float[Array, "*batch d"], frequencies: Float[Array, "m d"]
) -> Float[Array, "*batch 2*m"]:
    """[cos 2 pi B v, sin 2 pi B v] along the last axis."""
    phase = 2 * jnp.pi * v @ frequencies.T
    return jnp.concatenate([jnp.cos(phase), jnp.sin(phase)], axis=-1)


def channels(mode: str, num_features: int, image_channels: int = 3) -> int:
    """Channels of the mapped images; `num_features` is 2m.

    Raises:
        UserError: for a mode that doesn't exist or a number of features that it can't lay out.
    """
    if mode not in MODES:
        raise UserError(f"Expected fourier.mode to be one of {', '.join(MODES)}, got {mode!r}.")
    if num_features < 2 or num_features % 2:
        raise UserError(
            "Expected fourier.num_features to be a positive even number (a cosine and a sine "
            f"each), got {num_features}."
        )
    if mode == "patch" and num_features % PATCH**2:
        raise UserError(
            f"Expected fourier.num_features to be a multiple of {PATCH**2} in mode 'patch', one "
            f"channel each, got {num_features}."
        )
    return {
        "pixel": num_features,
        "patch": num_features // PATCH**2,
        "coords": image_channels + num_features,
    }[mode]


def fourier_images(
    images: Float[Array, "n *frames height width channels"],
    key: jax.Array,
    *,
    mode: str,
    num_features: int,
    sigma: float,
) -> Float[Array, "n *frames height width mapped"]:
    """Map a batch of images, or clips, to random Fourier features, as images or clips again.

    Args:
        images: standardised (about zero mean and unit variance), so sigma is in cycles per standard
            deviation for pixel and patch; for coords it is in cycles per image side, and per clip.
        key: draws B; the same key gives the same map.
        mode: "pixel", "patch" or "coords".
        num_features: 2m.
        sigma: standard deviation of the frequencies.

    Raises:
        UserError: as `channels`; or for images that don't divide into patches in mode "patch".
    """
    extents = images.shape[1:-1]
    height, width, colours = images.shape[-3:]
    out = channels(mode, num_features, colours)
    dims = {"pixel": colours, "patch": PATCH**2 * colours, "coords": len(extents)}[mode]
    frequencies = sigma * jax.random.normal(key, (num_features // 2, dims), images.dtype)
    if mode == "pixel":
        return features(images, frequencies)
    if mode == "coords":
        position = jnp.stack(
            jnp.meshgrid(*(jnp.linspace(0, 1, extent) for extent in extents), indexing="ij"), -1
        )
        mapped = features(position.astype(images.dtype), frequencies)
        return jnp.concatenate(
            [images, jnp.broadcast_to(mapped, (len(images), *mapped.shape))], axis=-1
        )
    if height % PATCH or width % PATCH:
        raise UserError(
            f"Expected images whose sides are multiples of {PATCH} for fourier.mode='patch', got "
            f"{height} x {width} pixels."
        )
    grid = images.reshape(-1, height // PATCH, PATCH, width // PATCH, PATCH, colours).transpose(
        0, 1, 3, 2, 4, 5
    )
    mapped = features(grid.reshape(*grid.shape[:3], -1), frequencies)
    mapped = mapped.reshape(*mapped.shape[:3], PATCH, PATCH, out).transpose(0, 1, 3, 2, 4, 5)
    return mapped.reshape(*images.shape[:-1], out)
