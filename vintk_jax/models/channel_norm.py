"""What can stand in for batch normalisation where samples have to be compared: three norms with a
scale and a shift a channel.

Batch normalisation mixes samples, and a tangent kernel compares samples. Each of the three gives up
something (our measurement on 21 networks of NAS-Bench-201, no accuracy looked at; figures in
docs/blocks_effect.md):

- `places` (instance normalisation) takes each channel's mean, which global average pooling reads,
  out of every sample. Only the ReLU ahead of the pooling lets images differ there again: logits
  differ by a twentieth of what they do under batch normalisation.
- `sample` (group normalisation with one group) keeps those means, but also the offset of each
  channel that all samples share, which batch normalisation takes away: kernels of all images become
  alike, and their spectra order networks the other way round.
- `batch` is batch normalisation with its statistics held fixed, as at inference. It is the nearest,
  but a sample's outputs depend on the other samples.

Cell networks take `places`, our choice: of the two that treat samples one by one, it is the one
whose kernels order networks as those under batch normalisation do (Kendall's tau of the share of
gradients that tells images apart: .67; `sample`: -.53).
"""

from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Norm = Literal["places", "sample", "batch"]


class ChannelNorm(nn.Module):
    """Normalisation with a scale and a shift for each channel, as batch normalisation has them.

    Attributes:
        over: what mean and variance are taken over: the `places` of each sample and channel; places
            and channels of each `sample`; or places and samples of the `batch`, for each channel.
            Those of the batch are held fixed in derivatives, so that the structured kernel is
            exact, but a kernel in chunks (`ntk.kernel`) or by neural-tangents is another one.
        epsilon: added to the variance (PyTorch's batch normalisation: 1e-5).
        use_scale, use_bias: whether they follow; named as in `flax.linen.LayerNorm`.
    """

    over: Norm
    epsilon: float = 1e-5
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "n height width channels"]
    ) -> Float[Array, "n height width channels"]:
        axes = {"places": (1, 2), "sample": (1, 2, 3), "batch": (0, 1, 2)}[self.over]

        def mean(v):
            of_axes = jnp.mean(v, axes, keepdims=True)
            return jax.lax.stop_gradient(of_axes) if self.over == "batch" else of_axes

        centred = x - mean(x)
        y = centred * jax.lax.rsqrt(mean(centred * centred) + self.epsilon)
        if self.use_scale:
            y = y * self.param("scale", nn.initializers.ones, (x.shape[-1],))
        return y + self.param("bias", nn.initializers.zeros, (x.shape[-1],)) if self.use_bias else y
