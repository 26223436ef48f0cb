"""The convolutional patch stem of LV-ViT (Jiang et al. 2021, arXiv 2104.10858): channels at half
resolution, which are then cut into patches.
"""

from functools import partial

import flax.linen as nn
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.convolution import by_product
from vintk_jax.models.layers import LayerNorm, conv_init, masked

STRIDE = 2  # pixels a side under each of its places
LAYERS = (
    (7, STRIDE),
    (3, 1),
    (3, 1),
    # (kernel side, stride); the published `PatchEmbed4_2` ahead of its last layer, which is our
    # `PatchEmbed`
)

_conv = partial(nn.Conv, use_bias=False, kernel_init=conv_init, conv_general_dilated=by_product)


class ConvStem(nn.Module):
    """Three convolutions, each followed by a norm and ReLU.

    The norm is over the channels of each place, our choice: LV-ViT's batch normalisation mixes
    samples, which a tangent kernel compares and which a ReViT's lengths would each want statistics
    of their own for. It has as many parameters.

    Attributes:
        width: channels (LV-ViT: 64).
        dtype: of the computation; None takes the input's.
    """

    width: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        mask: Float[Array, " features"] | None = None,
    ) -> Float[Array, "n rows columns features"]:
        """Features of images, half as high and wide; `mask` switches channels off (0)."""
        x = images
        for i, (side, stride) in enumerate(LAYERS):
            x = _conv(
                self.width,
                (side, side),
                stride,
                padding=side // 2,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(x)
            x = nn.relu(LayerNorm(name=f"norm_{i}")(masked(x, mask), mask))
        return x
