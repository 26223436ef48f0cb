"""Blocks that mix tokens by attention, by a depth-wise convolution or by pooling."""

import flax.linen as nn
import numpy as np

from vintk_jax.models.attention import Attention
from vintk_jax.models.layers import LayerNorm, Mlp, linear_init, masked
from vintk_jax.models.patch_embed import PatchEmbed, PositionEmbed, grid_of
from vintk_jax.spaces import SearchSpace, leading_ones, of_blocks

MIXERS = ("attention", "convolution", "pooling")
WIDTHS = (96, 128, 160)
DEPTHS = (2, 3, 4)
RATIOS = (2, 4)


class Block(nn.Module):
    mixers: tuple[str, ...]  # one; in the supernet all
    hidden: int  # units of the MLP

    @nn.compact
    def __call__(self, x, grid, embed, alive, weights, hidden):
        h = LayerNorm(name="norm1")(x, embed)
        for kind, weight in zip(self.mixers, weights, strict=True):
            x = x + alive * weight * self.mix(kind, h, grid, embed)
        h = LayerNorm(name="norm2")(x, embed)
        return x + alive * Mlp(self.hidden, name="mlp")(h, embed, hidden)

    def mix(self, kind, h, grid, embed):
        if kind == "attention":
            return Attention(num_heads=4, head_dim=32, name=kind)(h, grid, embed)
        x = h.reshape(-1, *grid, h.shape[-1])
        if kind == "convolution":
            x = nn.Conv(h.shape[-1], (3, 3), feature_group_count=h.shape[-1], name=kind)(x)
        else:
            x = nn.avg_pool(x, (3, 3), padding="SAME", count_include_pad=False) - x
        return masked(x.reshape(h.shape), embed)


class MixedViT(nn.Module):
    embed_dim: int
    blocks: tuple  # (mixers, hidden) of each block
    num_classes: int
    remat: bool = False

    @nn.compact
    def __call__(self, images, masks=None):
        grid = grid_of(images.shape, 16, None)
        embed = masks["embed"] if masks else None
        x = PatchEmbed(16, self.embed_dim, name="patch_embed")(images, grid)
        x = masked(PositionEmbed(grid, num_extra=0, name="positions")(x, grid), embed)
        block = nn.remat(Block, static_argnums=(2,)) if self.remat else Block
        for i, (mixers, hidden) in enumerate(self.blocks):
            unmasked = [1.0, [1.0] * len(mixers), None]
            values = [masks[name][i] for name in MixedSpace.block_masks] if masks else unmasked
            x = block(mixers, hidden, name=f"block_{i}")(x, grid, embed, *values)
        x = LayerNorm(name="norm")(x, embed).mean(axis=1)
        return nn.Dense(self.num_classes, kernel_init=linear_init, name="head")(x)


class MixedSpace(SearchSpace):
    block_masks = ("alive", "mixer", "hidden")

    def choices(self):
        blocks = of_blocks(max(DEPTHS), mixer=MIXERS, mlp_ratio=RATIOS)
        return {"embed_dim": WIDTHS, "depth": DEPTHS, **blocks}

    def model(self, arch, image_size=224, in_channels=3, num_classes=1000):
        hidden = [arch.embed_dim * ratio for ratio in arch.mlp_ratio]
        blocks = zip([(mixer,) for mixer in arch.mixer], hidden, strict=True)
        return MixedViT(arch.embed_dim, tuple(blocks), num_classes)

    def supernet(self, image_size=224, num_classes=1000, **options):
        blocks = ((MIXERS, max(WIDTHS) * max(RATIOS)),) * max(DEPTHS)
        return MixedViT(max(WIDTHS), blocks, num_classes, **options)

    def masks(self, arch):
        rest = max(DEPTHS) - arch.depth
        mixers = [*arch.mixer, *[None] * rest]
        hidden = [arch.embed_dim * ratio for ratio in arch.mlp_ratio] + [0] * rest
        return {
            "embed": leading_ones(arch.embed_dim, max(WIDTHS)),
            "alive": leading_ones(arch.depth, max(DEPTHS)),
            "mixer": np.float32([[kind == mixer for kind in MIXERS] for mixer in mixers]),
            "hidden": leading_ones(hidden, max(WIDTHS) * max(RATIOS)),
        }


SPACE = MixedSpace("mixed")
