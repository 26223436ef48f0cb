"""Sizes that go together, from small to large: token lengths, and how large an architecture may be.

Our choices. Each rung's largest model is a plain ViT of a few blocks whose shape trains well in the
time that the rung is for (the first is that of configs/revit_digits.py, the third that of
configs/revit_cifar10.py); the search looks for a better one of at most its multiply-adds.
"""

import dataclasses
from typing import Any

from vintk_jax import spaces
from vintk_jax.spaces.autoformer import AutoFormer
from vintk_jax.spaces.vit_mini import PATCH

SPACE = "vit-mini"


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size.

    Attributes:
        lengths: tokens a side, longest first.
        embed_dim, depth, num_heads, mlp_ratio: of the largest model, the same in all blocks.
        least_side: pixels that images must have a side for so many tokens to be of use.
    """

    lengths: tuple[int, ...]
    embed_dim: int
    depth: int
    num_heads: int
    mlp_ratio: float
    least_side: int

    @property
    def arch(self) -> AutoFormer:
        """The largest model."""
        heads = (self.num_heads,) * self.depth
        return AutoFormer(self.embed_dim, self.depth, heads, (self.mlp_ratio,) * self.depth)

    @property
    def best(self) -> dict[str, Any]:
        """The largest model as a search's best.json has it."""
        return {"space": SPACE, "arch": spaces.get(SPACE).to_json(self.arch)}

    @property
    def max_flops_m(self) -> float:
        """The limit of a search: the largest model's multiply-adds at the space's own size."""
        return round(spaces.get(SPACE).cost(self.arch).flops / 1e6, 3)

    @property
    def params(self) -> int:
        """Of the largest model at the space's own size."""
        return spaces.get(SPACE).cost(self.arch).params

    @property
    def work(self) -> int:
        """Multiply-adds of a pass at every length, at the patch size of the space."""
        space = spaces.get(SPACE)
        return sum(space.cost(self.arch, PATCH * side).flops for side in self.lengths)


RUNGS = (
    Rung((4, 2, 1), 64, 3, 4, 3.0, 8),
    Rung((8, 6, 4), 64, 3, 4, 3.0, 24),
    Rung((8, 6, 4), 96, 5, 6, 3.0, 24),
    Rung((8, 6, 4), 128, 6, 8, 4.0, 24),
    Rung((12, 8, 6), 160, 6, 8, 4.0, 72),
    Rung((14, 10, 7), 192, 8, 8, 4.0, 96),
)
