"""The models that benchmarks of training are about."""

from typing import Any

from vintk_jax.models.vit import ViT


def revit(case: Any, lengths: tuple[int, ...]) -> ViT:
    """The ViT of a case's sizes (`embed_dim`, `depth`, `num_heads`, `image_size`) at one token
    length or several, ten classes.
    """
    grids = tuple((side, side) for side in lengths)
    return ViT(
        embed_dim=case.embed_dim,
        num_heads=(case.num_heads,) * case.depth,
        hidden=(case.embed_dim * 4,) * case.depth,
        head_dim=case.embed_dim // case.num_heads,
        num_classes=10,
        patch_size=round(case.image_size / lengths[0]),
        native_grid=grids[0],
        norm_grids=grids if len(grids) > 1 else (),
    )
