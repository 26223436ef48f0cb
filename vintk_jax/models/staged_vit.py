"""A small vision transformer of several widths, with a choice of what comes ahead of its blocks and
behind them: the patch size, a convolutional stem, what the classifier reads.

The model of the space `cifar-vit` (`spaces/cifar_vit.py`). One module holds every patch size at
once when it is that space's supernet: masks then say which of them runs.
"""

from collections.abc import Mapping
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.models.blocks import Stage
from vintk_jax.models.conv_stem import STRIDE, ConvStem
from vintk_jax.models.layer_decay import Layers, stages
from vintk_jax.models.layers import Dense, LayerNorm, linear_init, masked
from vintk_jax.models.patch_embed import ClassToken, PatchEmbed, PositionEmbed, grid_of

POOLS = ("token", "mean")
HALF = 0.5  # the smaller residual scale: LV-ViT-S's (arXiv 2104.10858)


class StagedViT(nn.Module):
    """Blocks in stages, each of its own width; the number of tokens stays the same.

    Attributes:
        image_size: pixels a side that the position tables are made for.
        patch_sizes: pixels a side of a patch; one, or in a supernet several.
        stem_widths: channels of the convolutional stem, 0 for none; one, or in a supernet 0 and
            another.
        embed_dims: width of a token in each stage.
        num_heads: heads of each block, in all stages.
        head_dim: width of a head.
        hidden: MLP width of each block, stage by stage.
        pool: what the classifier reads: the class token, or the mean over patches.
        residual_scale: what each residual is multiplied by before it is added.
        num_classes: outputs.
        scan, remat: see `blocks.stack`.
    """

    image_size: int
    patch_sizes: tuple[int, ...]
    stem_widths: tuple[int, ...]
    embed_dims: tuple[int, ...]
    num_heads: int
    head_dim: int
    hidden: tuple[tuple[int, ...], ...]
    pool: str = "token"
    residual_scale: float = 1.0
    num_classes: int = 10
    scan: bool = False
    remat: bool = False

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        of_size = ("from_pixels", "from_stem", "positions")
        sizes = tuple(f"{name}_{size}" for name in of_size for size in self.patch_sizes)
        depths = tuple(map(len, self.hidden))
        blocks = stages(depths, self.scan, ("widen",))
        return (("stem", "class_token", *sizes), *blocks, ("norm", "head"))

    def setup(self):
        sizes = self.patch_sizes
        width = self.embed_dims[0]
        if 0 in self.stem_widths:
            self.from_pixels = {str(size): PatchEmbed(size, width) for size in sizes}
        if max(self.stem_widths):
            self.stem = ConvStem(max(self.stem_widths))
            self.from_stem = {str(size): PatchEmbed(size // STRIDE, width) for size in sizes}
        self.class_token = ClassToken()
        self.positions = {str(size): PositionEmbed(self._grid(size)) for size in sizes}
        self.stages = [
            Stage(self._kinds(hidden), self.scan, self.remat, name=f"stage_{i}")
            for i, hidden in enumerate(self.hidden)
        ]
        self.widen = [
            Dense(after, kernel_init=linear_init, name=f"widen_{i}")
            for i, after in enumerate(self.embed_dims[1:], start=1)
        ]
        self.norm = LayerNorm()
        self.head = Dense(self.num_classes, kernel_init=linear_init)

    def _grid(self, size: int) -> tuple[int, int]:
        return grid_of((self.image_size, self.image_size, 3), size, None)

    def _kinds(self, hidden: tuple[int, ...]) -> tuple[Any, ...]:
        fields = {
            "num_heads": self.num_heads,
            "head_dim": self.head_dim,
            "residual_scale": self.residual_scale,
        }
        return tuple(tuple({**fields, "hidden": of_block}.items()) for of_block in hidden)

    def __call__(
        self,
        images: Float[Array, "n height width channels"],
        masks: Mapping[str, Any] | None = None,
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of images.

        Args:
            images: of `image_size` a side; any number of channels at initialisation, that number
                afterwards.
            masks: `patch_size` (patch_sizes,), one of them 1; `stem` (), whether there is one;
                `mean` (), whether the mean is read; `full` (), 1 for residuals as they are and 0
                for half of them; and for each stage, as "stage_i", what `blocks.Stage` takes.
                None: an ordinary model; one with several patch sizes or with both kinds of stem
                runs them all and adds their logits up.

        Raises:
            ValueError: for images of another size.
        """
        if images.shape[1:3] != (self.image_size,) * 2:
            raise ValueError(
                f"Expected images of {self.image_size} x {self.image_size} pixels, got "
                f"{images.shape[1]} x {images.shape[2]}."
            )
        if masks is None:
            return sum(
                self._logits(self._embedded(images, size, width > 0, None), size, None)
                for size in self.patch_sizes
                for width in self.stem_widths
            )

        def of_size(size):
            def branch(model, images):
                return model._masked(images, size, masks)

            return branch

        branches = [of_size(size) for size in self.patch_sizes]
        return nn.switch(jnp.argmax(masks["patch_size"]), branches, self, images)

    def _masked(self, images, size, masks):
        """Logits of one patch size under masks."""
        embed_mask = masks["stage_0"]["embed"]

        def with_stem(model, images):
            return model._embedded(images, size, True, embed_mask)

        def without_stem(model, images):
            return model._embedded(images, size, False, embed_mask)

        if len(self.stem_widths) == 1:
            x = self._embedded(images, size, self.stem_widths[0] > 0, embed_mask)
        else:
            x = nn.cond(masks["stem"] > 0, with_stem, without_stem, self, images)
        return self._logits(x, size, masks)

    def _embedded(self, images, size, stem, embed_mask):
        """Patches as tokens, without positions."""
        grid = self._grid(size)
        if stem:
            x = self.from_stem[str(size)](self.stem(images), grid)
        else:
            x = self.from_pixels[str(size)](images, grid)
        return masked(x, embed_mask)

    def _logits(self, x, size, masks):
        """From embedded patches to the classifier's outputs."""
        grid = self._grid(size)
        x = self.positions[str(size)](self.class_token(x), grid)
        live = None
        residual_scale = None
        if masks is not None:
            live = masks["stage_0"]["embed"]
            scale = HALF + (1 - HALF) * masks["full"]
        x = masked(x, live)
        # Stages. Under masks the scale of the residuals comes as a drop-path mask.
        for i, stage in enumerate(self.stages):
            of_stage = None if masks is None else masks[f"stage_{i}"]
            if masks is not None:
                live = of_stage["embed"]
                residual_scale = jnp.broadcast_to(scale, (len(self.hidden[i]), 2, x.shape[0]))
            if i:
                x = masked(self.widen[i - 1](x), live)
            x = stage(x, grid, of_stage, residual_scale)
        # Classifier.
        x = self.norm(x, live)
        token = x[:, 0]
        mean = x[:, 1:].mean(axis=1)
        if masks is not None:
            return self.head(masks["mean"] * mean + (1 - masks["mean"]) * token)
        return self.head(mean if self.pool == "mean" else token)
