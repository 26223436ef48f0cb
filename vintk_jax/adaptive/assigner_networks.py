"""Token-Length Assigners: light networks that say, before the work is done, how many tokens an
image needs.

Three kinds, each giving one number a length, cheapest first:

- shared: an MLP on what a pass knows. Where that pass suffices, its answer is the answer;
  elsewhere it is the price of knowing.
- cnn: depth-wise separable convolutions on a thumbnail.
- vit: a small ViT on a thumbnail.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from vintk_jax.errors import UserError, nearest
from vintk_jax.models.vit import ViT
from vintk_jax.tasks.objectives import normalise


class SharedHead(nn.Module):
    """A normalised MLP on the features of a pass.

    Attributes:
        lengths: outputs; width: of its one hidden layer.
    """

    lengths: int
    width: int

    @nn.compact
    def __call__(self, features: Float[Array, "n features"]) -> Float[Array, "n lengths"]:
        """Logits of the lengths."""
        x = nn.LayerNorm()(features)
        return nn.Dense(self.lengths, name="head")(nn.gelu(nn.Dense(self.width)(x)))


class ThumbnailCnn(nn.Module):
    """Three depth-wise separable convolutions, each halving the thumbnail, and the mean over what
    is left.
    """

    lengths: int
    width: int

    @nn.compact
    def __call__(self, small: UInt8[Array, "n side side 3"]) -> Float[Array, "n lengths"]:
        """Logits of the lengths."""
        x = normalise(small)
        for i in range(3):
            x = nn.Conv(
                x.shape[-1], (3, 3), (2, 2), feature_group_count=x.shape[-1], use_bias=False
            )(x)
            x = nn.relu(nn.LayerNorm()(nn.Dense(self.width * 2**i)(x)))
        return nn.Dense(self.lengths, name="head")(x.mean(axis=(1, 2)))


class ThumbnailViT(nn.Module):
    """Two blocks on 4 x 4 patches of a thumbnail."""

    lengths: int
    width: int

    @nn.compact
    def __call__(self, small: UInt8[Array, "n side side 3"]) -> Float[Array, "n lengths"]:
        """Logits of the lengths."""
        side = small.shape[1] // 4
        vit = ViT(
            self.width,
            (2, 2),
            (2 * self.width,) * 2,
            head_dim=self.width // 2,
            num_classes=self.lengths,
            patch_size=side,
            native_grid=(4, 4),
        )
        return vit(normalise(small))


TARGETS = (
    # softmax over the smallest length at which the model is right (the paper's labels); right at
    # all longer ones, says the sum
    "smallest",
    "each",  # a chance of its own of being right at each length
    "margin",  # the same, learned from how clearly each length is right
)
# Also in defaults.adaptive.
KINDS = {"shared": SharedHead, "cnn": ThumbnailCnn, "vit": ThumbnailViT}


def make(kind: str, lengths: int, width: int, thumbnail: int) -> nn.Module:
    """An assigner.

    Args:
        kind: one of `KINDS`; lengths: outputs; width: of its layers; thumbnail: pixels a side of
            what it will see.

    Raises:
        UserError: for another kind, or sizes that don't fit.
    """
    if kind not in KINDS:
        raise UserError(
            f"Expected tla.kind to be one of {', '.join(KINDS)}, got {kind!r}."
            f"{nearest(kind, KINDS)}"
        )
    if width < 2 or width % 2 or thumbnail < 8 or thumbnail % 4:
        raise UserError(
            "Expected an even width and a thumbnail of a multiple of 4 pixels from 8 on, got "
            f"tla.width={width} and tla.thumbnail={thumbnail}."
        )
    return KINDS[kind](lengths, width)


def reads_features(assigner: nn.Module) -> bool:
    """Whether it runs on a pass' features, instead of a thumbnail."""
    return isinstance(assigner, SharedHead)


def example(assigner: nn.Module, features: int, thumbnail: int) -> Array:
    """One image of what it reads: `features` numbers, or a thumbnail of so many pixels a side; all
    zero.
    """
    return (
        jnp.zeros((1, features))
        if reads_features(assigner)
        else jnp.zeros((1, thumbnail, thumbnail, 3), jnp.uint8)
    )


def chances(logits: Float[Array, "n lengths"], target: str) -> Float[Array, "n lengths"]:
    """Of being right at each length.

    Args:
        target: what the logits stand for, one of `TARGETS`.
    """
    if target == "smallest":
        return jnp.cumsum(nn.softmax(logits), axis=-1)
    return nn.sigmoid(logits)
