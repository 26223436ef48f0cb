"""Self-attention within groups of a clip's tokens: the same place in all frames, or all places of
one frame (TimeSformer, arXiv 2102.05095).
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from vintk_jax.models.attend import attended, products
from vintk_jax.models.layers import Dense, linear_init, masked


class GroupedAttention(nn.Module):
    """Multi-head self-attention among some of the tokens.

    Attributes:
        groups: "time": tokens at one place, over the frames; "space": tokens of one frame, among
            them a class token that all frames share, whose output is the mean over them; "frames":
            tokens of one frame with a class token of its own.
        num_heads, head_dim: their product may differ from the embedding's width.
        dtype: of the computation.
    """

    groups: Literal["time", "space", "frames"]
    num_heads: int
    head_dim: int
    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(
        self,
        x: Float[Array, "n tokens embed"],
        frames: int,
        embed_mask: Float[Array, " embed"] | None = None,
        head_mask: Float[Array, " heads"] | None = None,
    ) -> Float[Array, "n tokens embed"]:
        """Attend.

        Args:
            x: tokens frame by frame; in "space" behind one class token, in "frames" each frame
                behind its own, in "time" without any.
        """
        n, tokens, embed = x.shape
        qkv = Dense(
            3 * self.num_heads * self.head_dim,
            kernel_init=linear_init,
            dtype=self.dtype,
            name="qkv",
        )(x)
        qkv = checkpoint_name(qkv, "qkv").reshape(n, tokens, 3, self.num_heads, self.head_dim)
        q, k, v = self._split(qkv, frames)
        out = attended(products(q * self.head_dim**-0.5, k), v)
        if head_mask is not None:
            out *= head_mask.astype(out.dtype)[:, None, None]
        out = self._join(out).reshape(n, tokens, -1)
        return masked(
            Dense(embed, kernel_init=linear_init, dtype=self.dtype, name="proj")(out), embed_mask
        )

    def _split(
        self, qkv: Float[Array, "n tokens three heads dim"], frames: int
    ) -> Float[Array, "three n groups heads members dim"]:
        if self.groups == "space":
            shared = qkv[:, :1]
            qkv = qkv[:, 1:]
        by_frame = qkv.reshape(qkv.shape[0], frames, -1, *qkv.shape[2:])
        if self.groups == "space":
            shared = jnp.broadcast_to(
                shared[:, None], (by_frame.shape[0], frames, 1, *by_frame.shape[3:])
            )
            by_frame = jnp.concatenate([shared, by_frame], axis=2)
        return by_frame.transpose(
            (3, 0, 2, 4, 1, 5) if self.groups == "time" else (3, 0, 1, 4, 2, 5)
        )

    def _join(
        self, out: Float[Array, "n groups heads members dim"]
    ) -> Float[Array, "n tokens heads dim"]:
        if self.groups == "time":
            return out.transpose(0, 3, 1, 2, 4).reshape(out.shape[0], -1, *out.shape[2::2])
        by_frame = out.transpose(0, 1, 3, 2, 4)
        if self.groups == "frames":
            return by_frame.reshape(out.shape[0], -1, *by_frame.shape[3:])
        shared = by_frame[:, :, 0].mean(axis=1, keepdims=True)
        return jnp.concatenate(
            [shared, by_frame[:, :, 1:].reshape(out.shape[0], -1, *by_frame.shape[3:])], axis=1
        )
