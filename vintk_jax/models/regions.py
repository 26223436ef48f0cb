"""Lengths by region: coarse tokens everywhere, the most relevant of them cut into four.

A pass on a coarse grid comes first. Its answer says which of its tokens speak most for the class
that wins. These are cut into two by two finer tokens, the others stay, and a second pass reads both
kinds. It begins with what the first one knew. With all tokens cut it is a pass on the finer grid.

After CF-ViT (Chen et al. 2023, arXiv 2203.03821). The finer patches are embedded by the same
resizable kernel, and every image has as many tokens as another, so that shapes are static.
"""

import dataclasses

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from vintk_jax.models.layers import Dense, linear_init
from vintk_jax.models.patch_embed import Grid

PARTS = 4  # finer tokens that a coarse one is cut into


@dataclasses.dataclass(frozen=True)
class Regions:
    """A length of a ViT: a coarse grid of which some tokens are cut into four.

    Attributes:
        coarse: tokens a side of the coarse grid.
        cut: how many of its tokens are cut, from 1 to all.
    """

    coarse: int
    cut: int

    @property
    def grid(self) -> Grid:
        """The coarse grid."""
        return (self.coarse, self.coarse)

    @property
    def fine(self) -> Grid:
        """The grid that the cut tokens are on."""
        return (2 * self.coarse, 2 * self.coarse)

    @property
    def tokens(self) -> int:
        """Of the second pass."""
        return self.coarse**2 + (PARTS - 1) * self.cut

    def __str__(self) -> str:
        """Tokens of the first and of the second pass."""
        return f"{self.coarse**2}+{self.tokens}"


def ranked(
    by_class: Float[Array, "n tokens classes"],
) -> Int[Array, "n tokens"]:
    """Coarse tokens, the most relevant first: by what each says for the class that wins in the mean
    of all (class activation maps, Zhou et al. 2016, arXiv 1512.04150).
    """
    winner = by_class.mean(axis=1).argmax(axis=-1)
    relevance = jnp.take_along_axis(by_class, winner[:, None, None], axis=-1)[..., 0]
    return jnp.argsort(-jax.lax.stop_gradient(relevance), axis=-1)


def chosen(
    x: Float[Array, "n tokens *shape"], which: Int[Array, "n some"]
) -> Float[Array, "n some *shape"]:
    """Some tokens of each image."""
    index = which.reshape(*which.shape, *(1,) * (x.ndim - 2))
    return jnp.take_along_axis(x, index, axis=1)


def by_parent(
    x: Float[Array, "n fine embed"], regions: Regions
) -> Float[Array, "n coarse 4 embed"]:
    """Tokens of the finer grid beside those that they are cut from, both in raster order."""
    n, _, embed = x.shape
    side = regions.coarse
    return x.reshape(n, side, 2, side, 2, embed).swapaxes(2, 3).reshape(n, side**2, PARTS, embed)


class Reuse(nn.Module):
    """What a second pass adds to its tokens of what the first one knew: two linear layers, of which
    the second starts at zero, so that a second pass starts as one that knows nothing (our choice).

    Attributes:
        dtype: of the computation; None takes the input's.
    """

    dtype: DTypeLike | None = None

    @nn.compact
    def __call__(self, known: Float[Array, "n tokens embed"]) -> Float[Array, "n tokens embed"]:
        width = known.shape[-1]
        h = Dense(width, kernel_init=linear_init, dtype=self.dtype, name="fc1")(known)
        h = nn.gelu(h)
        return Dense(width, kernel_init=nn.initializers.zeros, dtype=self.dtype, name="fc2")(h)


def assembled(
    coarse: Float[Array, "n one_and_coarse embed"],
    fine: Float[Array, "n fine embed"],
    reused: Float[Array, "n one_and_coarse embed"],
    order: Int[Array, "n coarse"],
    regions: Regions,
) -> Float[Array, "n tokens embed"]:
    """The sequence of a second pass: the class token, the coarse tokens that stay, and the finer
    ones of those that are cut; each with what was known of it or of its parent.

    Args:
        coarse: class token and coarse tokens; fine: tokens of the finer grid; all embedded, with
            their positions.
        reused: of class token and coarse tokens, see `Reuse`.
        order: coarse tokens, the most relevant first.
    """
    cut = order[:, : regions.cut]
    stay = order[:, regions.cut :]
    kept = coarse + reused
    parents = chosen(reused[:, 1:], cut)
    children = chosen(by_parent(fine, regions), cut) + parents[:, :, None]
    n, _, parts, embed = children.shape
    children = children.reshape(n, regions.cut * parts, embed)
    return jnp.concatenate([kept[:, :1], chosen(kept[:, 1:], stay), children], axis=1)
