"""How a model's pixels are standardised, and moving a difference in it into the patch kernel.

Training and inference here standardise by ImageNet's means and deviations. A model made for (u -
m') / s' sees, of our x = (u - m) / s, the same as x s / s' + (m - m') / s': an affine map of each
channel, which the kernel takes in without changing any logit.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.data.archives import MEAN, STD
from vintk_jax.errors import UserError

# The means and deviations of pixels from 0 to 1: DeiT's; Google's and most of Hugging Face's ViTs
# (pixels from -1 to 1); TimeSformer's.
KNOWN = {
    "imagenet": (MEAN, STD),
    "half": (np.full(3, 0.5), np.full(3, 0.5)),
    "kinetics": (np.full(3, 0.45), np.full(3, 0.225)),
}
OWN = "own"


def pixels_of(
    wanted: str, described: Mapping[str, Any], usual: str
) -> tuple[np.ndarray, np.ndarray] | None:
    """Means and deviations that a model's pixels are standardised by, or None to leave its kernel
    as it is.

    Args:
        wanted: a name of `KNOWN`, "own" for None, or empty: as the JSON files beside the weights
            say, else as is usual.
        described: what those files say (timm's config.json, Hugging Face's
            preprocessor_config.json).
        usual: the name that is right for most models of the source.

    Raises:
        UserError: for an unknown name.
    """
    if wanted == OWN:
        return None
    if wanted and wanted not in KNOWN:
        raise UserError(
            f"Expected pixels to be {', '.join(KNOWN)}, {OWN}, or empty (as the files beside the "
            f"weights say), got {wanted!r}."
        )
    timms = described.get("pretrained_cfg") or {}
    given = (
        timms.get("mean") or described.get("image_mean"),
        timms.get("std") or described.get("image_std"),
    )
    if not wanted and all(isinstance(numbers, list) and len(numbers) == 3 for numbers in given):
        return np.asarray(given[0], np.float64), np.asarray(given[1], np.float64)
    return KNOWN[wanted or usual]


def folded(
    kernel: Float[np.ndarray, "rows columns 3 embed"],
    bias: Float[np.ndarray, " embed"],
    mean: Float[np.ndarray, "3"],
    std: Float[np.ndarray, "3"],
) -> tuple[Float[np.ndarray, "rows columns 3 embed"], Float[np.ndarray, " embed"]]:
    """Patch kernel and bias for pixels standardised by ImageNet's numbers instead of these."""
    scale = STD / std
    shift = (MEAN - mean) / std
    kernel = kernel.astype(np.float64)
    bias = bias + np.einsum("rsce,c->e", kernel, shift)
    return (kernel * scale[:, None]).astype(np.float32), bias.astype(np.float32)
