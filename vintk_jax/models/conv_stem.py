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
# Of the kernels; the first has the stride. The published `PatchEmbed4_2` ahead of its last layer,
# which is our `PatchEmbed`.
SIDES = (7, 3, 3)

_conv = partial(nn.Conv, use_bias=False, kernel_init=conv_init, conv_general_dilated=by_product)


class ConvStem(nn.Module):
    """Convolutions, each followed by a norm and ReLU; LV-ViT has three.

    The norm is over the channels of each place, our choice: LV-ViT's batch normalisation mixes
    samples, which a tangent kernel compares and which a ReViT's lengths would each want statistics
    of their own for. It has as many parameters.

    Attributes:
        width: channels (LV-ViT: 64).
        dtype: of the computation; None takes the input's.
        sides: pixels a side of each convolution's kernel; the first one has the stride.
    """

    width: int
    dtype: DTypeLike | None = None
    sides: tuple[int, ...] = SIDES

    @nn.compact
    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        mask: Float[Array, " features"] | None = None,
    ) -> Float[Array, "n rows columns features"]:
        """Features of images, half as high and wide; `mask` switches channels off (0)."""
        x = images
        for i, side in enumerate(self.sides):
            x = _conv(
                self.width,
                (side, side),
                STRIDE if i == 0 else 1,
                padding=side // 2,
                dtype=self.dtype,
                name=f"conv_{i}",
            )(x)
            x = nn.relu(LayerNorm(name=f"norm_{i}")(masked(x, mask), mask))
        return x
