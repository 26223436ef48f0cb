"""Mixing the images of a batch with each other, on the device: mixup and CutMix, as DeiT uses them.

Each image is mixed with its opposite in the batch (the reversed order); one share for the whole
batch, drawn from Beta(alpha, alpha).
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

Images = Float[Array, "n *image channels"]
Targets = Float[Array, "n classes"]


def mixup(images: Images, targets: Targets, key: jax.Array, alpha: float) -> tuple[Images, Targets]:
    """share x image + (1 - share) x its opposite, and the same of the targets (Zhang et al. 2018,
    arXiv 1710.09412).
    """
    share = jax.random.beta(key, alpha, alpha)

    def mix(x):
        return share * x + (1 - share) * x[::-1]

    return mix(images), mix(targets)


def cutmix(
    images: Images, targets: Targets, key: jax.Array, alpha: float
) -> tuple[Images, Targets]:
    """A rectangle of the opposite image in the place of the image's own; targets by area (Yun et
    al. 2019, arXiv 1905.04899).
    """
    of_share, of_row, of_column = jax.random.split(key, 3)
    height, width = images.shape[-3:-1]
    side = jnp.sqrt(1 - jax.random.beta(of_share, alpha, alpha))

    def inside(key, length):
        centre = jax.random.uniform(key, maxval=length)
        half = side * length / 2
        places = jnp.arange(length)
        return (places >= jnp.round(centre - half)) & (places < jnp.round(centre + half))

    box = inside(of_row, height)[:, None] & inside(of_column, width)
    taken = jnp.mean(box)
    return jnp.where(box[..., None], images[::-1], images), (1 - taken) * targets + taken * targets[
        ::-1
    ]


def mix(
    images: Images,
    targets: Targets,
    key: jax.Array,
    mixup_alpha: int | float,
    cutmix_alpha: int | float,
) -> tuple[Images, Targets]:
    """One of the two, each half of the time, where both alphas are positive; the one that is; or
    neither.
    """
    which, draw = jax.random.split(key)

    def blend():
        return mixup(images, targets, draw, float(mixup_alpha))

    def cut():
        return cutmix(images, targets, draw, float(cutmix_alpha))

    if mixup_alpha > 0 and cutmix_alpha > 0:
        return jax.lax.cond(jax.random.bernoulli(which), blend, cut)
    return blend() if mixup_alpha > 0 else cut() if cutmix_alpha > 0 else (images, targets)
