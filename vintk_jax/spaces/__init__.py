"""Search spaces by name."""

from vintk_jax.errors import UserError
from vintk_jax.registry import Registry
from vintk_jax.spaces.autoformer import BASE, SMALL, TINY
from vintk_jax.spaces.base import Cost, InvalidArchitecture, SearchSpace
from vintk_jax.spaces.by_choices import leading_ones, of_blocks
from vintk_jax.spaces.cifar_vit import CIFAR_VIT
from vintk_jax.spaces.deit_video import MINI as DEIT_VIDEO_MINI
from vintk_jax.spaces.deit_video import SMALL as DEIT_VIDEO
from vintk_jax.spaces.lvvit import LVVIT
from vintk_jax.spaces.nasbench201 import NASBENCH201
from vintk_jax.spaces.pit import PIT
from vintk_jax.spaces.s3 import S3
from vintk_jax.spaces.segmentation import MINI as SEG_MINI
from vintk_jax.spaces.segmentation import SMALL as SEG_SMALL
from vintk_jax.spaces.vit_mini import VIT_MINI

_ALL = (
    TINY,
    SMALL,
    BASE,
    PIT,
    S3,
    LVVIT,
    CIFAR_VIT,
    VIT_MINI,
    SEG_SMALL,
    SEG_MINI,
    DEIT_VIDEO,
    DEIT_VIDEO_MINI,
    NASBENCH201,
)
_SPACES = Registry("space", {space.name: space for space in _ALL})


def get(name: str) -> SearchSpace:
    """The space of that name, or of the import path `package.module:attribute` (an instance, or a
    class that needs no arguments).

    Raises:
        UnknownName: naming the nearest space there is.
        UserError: for an import path of something else.
    """
    space = _SPACES.get(name)
    if isinstance(space, type) and issubclass(space, SearchSpace):
        space = space()
    if not isinstance(space, SearchSpace):
        raise UserError(
            f"Expected a vintk_jax.spaces.SearchSpace (docs/your_space.md), got space={name}, a "
            f"{type(space).__name__}."
        )
    return space


def names() -> list[str]:
    """The built-in spaces."""
    return _SPACES.names()


__all__ = [
    "Cost",
    "InvalidArchitecture",
    "SearchSpace",
    "get",
    "leading_ones",
    "names",
    "of_blocks",
]
