"""Token-Length Assigners: light networks that say, before the work is done, how many tokens an
image needs.

Four kinds, each giving one number a length, cheapest first:

- confidence: an MLP on how sure a pass is of its answer, and on nothing else.
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

_MOST_SURE = 32  # log-probabilities that an assigner sees at most
_LEAST_DOUBT = 1e-6
_ODDS = 4.0  # log-odds are from -2 to 14


def num_sure(classes: int) -> int:
    """How many log-probabilities an assigner sees, of so many classes."""
    return min(classes, _MOST_SURE)


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


class ConfidenceHead(nn.Module):
    """An MLP on one number: the log-odds of the likeliest class.

    What a cascade by confidence goes by, but with a chance for each length: the price chooses among
    all longer ones (our choice).

    Attributes:
        lengths: outputs; width: of its one hidden layer.
        sure: how many log-probabilities the features end with, the highest first.
    """

    lengths: int
    width: int
    sure: int

    @nn.compact
    def __call__(self, features: Float[Array, "n features"]) -> Float[Array, "n lengths"]:
        """Logits of the lengths."""
        highest = features[:, features.shape[1] - self.sure, None]
        odds = highest - jnp.log(jnp.maximum(-jnp.expm1(highest), _LEAST_DOUBT))
        hidden = nn.gelu(nn.Dense(self.width)(odds / _ODDS))
        return nn.Dense(self.lengths, name="head")(hidden)


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
)
# Also in defaults.adaptive.
KINDS = {
    "shared": SharedHead,
    "confidence": ConfidenceHead,
    "cnn": ThumbnailCnn,
    "vit": ThumbnailViT,
}


def make(kind: str, lengths: int, width: int, thumbnail: int, classes: int = 0) -> nn.Module:
    """An assigner.

    Args:
        kind: one of `KINDS`; lengths: outputs; width: of its layers; thumbnail: pixels a side of
            what it will see; classes: of the model, for one that reads how sure it is.

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
    if kind == "confidence":
        if classes < 1:
            raise UserError(
                "Expected the number of the model's classes for tla.kind=confidence, got "
                f"{classes}."
            )
        return ConfidenceHead(lengths, width, num_sure(classes))
    return KINDS[kind](lengths, width)


def reads_features(assigner: nn.Module) -> bool:
    """Whether it runs on a pass' features, instead of a thumbnail."""
    return isinstance(assigner, SharedHead | ConfidenceHead)


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
    return nn.sigmoid(logits) if target == "each" else jnp.cumsum(nn.softmax(logits), axis=-1)
