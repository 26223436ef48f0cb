"""TimeSformer (Bertasius et al. 2021, arXiv 2102.05095): a ViT over clips, resizable in space and
time.

A token length is a grid of (frames, rows, columns): so many of a clip's frames, evenly spread, each
cut into rows x columns patches. Attention is divided (over time, then over space: the paper's
best), joint (all tokens with each other), or within frames only, whose answers are averaged.
"""

from typing import Literal

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Int

from vintk_jax.models import resample
from vintk_jax.models.blocks import stack
from vintk_jax.models.clip_blocks import ClipGrid, DividedBlock, FrameBlock
from vintk_jax.models.layer_decay import Layers, block_layers
from vintk_jax.models.layers import Dense, LayerNorm, linear_init, masked
from vintk_jax.models.patch_embed import ClassToken, Grid, PatchEmbed, fit_to_grid, grid_of
from vintk_jax.models.stacking import split_masks

ATTENTIONS = ("divided", "joint", "space")


def frames_shown(there: int, wanted: int) -> Int[np.ndarray, " wanted"]:
    """Which frames of a clip a shorter length sees: the middles of equal parts.

    Raises:
        ValueError: for more frames than there are.
    """
    if not 1 <= wanted <= there:
        raise ValueError(f"Expected 1 to {there} frames of a clip of {there}, got {wanted}.")
    return ((np.arange(wanted) + 0.5) * there / wanted).astype(int)


def fit_to_length(
    clips: Float[Array, "n frames height width channels"], length: ClipGrid
) -> Float[Array, "n shown fitted_height fitted_width channels"]:
    """The frames that a length shows, each resized so that its token grid divides it
    (`patch_embed.fit_to_grid`).

    Raises:
        ValueError: for more frames or tokens than there are frames or pixels.
    """
    shown = clips[:, frames_shown(clips.shape[1], length[0])]
    frames = fit_to_grid(shown.reshape(-1, *shown.shape[2:]), length[1:])
    return frames.reshape(*shown.shape[:2], *frames.shape[1:])


class SpaceTimePositions(nn.Module):
    """Adds a learned table of places, with a row for the class token, and one of times.

    Attributes:
        native_grid: token rows and columns that the places are stored for; resampled for others.
        native_frames: frames that the times are stored for. A frame keeps its time at every length;
            clips of another length take the nearest.
        per_frame: whether each frame has a class token of its own ahead of it; else one for all
            lies ahead.
    """

    native_grid: Grid
    native_frames: int
    per_frame: bool = False

    @nn.compact
    def __call__(
        self, x: Float[Array, "n tokens embed"], grid: Grid, times: tuple[int, ...]
    ) -> Float[Array, "n tokens embed"]:
        """Args: grid: rows and columns; times: of the frames, among the native ones."""
        init = nn.initializers.truncated_normal(0.02)
        embed = x.shape[-1]
        places = self.param("places", init, (1 + self.native_grid[0] * self.native_grid[1], embed))
        places = resample.resample_positions(places, self.native_grid, grid).astype(x.dtype)
        if self.per_frame:
            return x + jnp.tile(places, (len(times), 1))
        all_times = self.param("times", init, (self.native_frames, embed))
        of_times = all_times[np.asarray(times)].astype(x.dtype)
        on_grid = (places[1:] + of_times[:, None]).reshape(-1, embed)
        return x + jnp.concatenate([places[:1], on_grid])


class TimeSformer(nn.Module):
    """Vision transformer over clips.

    Attributes:
        embed_dim: width of a token.
        num_heads: heads of each block; its length is the depth.
        hidden: MLP width of each block.
        head_dim: width of a head.
        num_classes: outputs.
        patch_size: side of a patch in pixels.
        native_grid: token rows and columns that patch kernel and positions are stored for.
        native_frames: frames that times are stored for.
        attention: one of `ATTENTIONS`.
        norm_grids: lengths (frames, rows, columns) whose norms have scales and shifts of their own;
            empty: all share one.
        scan, remat: as in `ViT`.
        dtype: of the computation; None takes the input's.
    """

    embed_dim: int
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    head_dim: int
    num_classes: int
    patch_size: int = 16
    native_grid: Grid = (14, 14)
    native_frames: int = 8
    attention: Literal["divided", "joint", "space"] = "divided"
    norm_grids: tuple[ClipGrid, ...] = ()
    scan: bool = False
    remat: bool = False
    dtype: DTypeLike | None = None

    @property
    def num_blocks(self) -> int:
        """How many blocks there are: what stochastic depth counts."""
        return len(self.num_heads)

    @property
    def layers(self) -> Layers:
        """See `models.layer_decay`."""
        embedding = ("patch_embed", "class_token", "positions")
        return (embedding, *block_layers(self.num_blocks, self.scan), ("norm", "head"))

    @nn.compact
    def __call__(
        self,
        clips: Float[Array, "n frames height width channels"],
        grid: ClipGrid | None = None,
        masks: dict | None = None,
        drop_path_mask: Float[Array, "depth 2 n"] | None = None,
    ) -> Float[Array, "n classes"]:
        """Logits of a batch of clips.

        Args:
            grid: frames, rows and columns to see; None: all frames in native patches.
            masks, drop_path_mask: see `ViT`.

        Raises:
            ValueError: for a grid that doesn't fit the clips or has no norms, or blocks that differ
                and are to be scanned.
        """
        n, there = clips.shape[:2]
        shown = frames_shown(there, grid[0] if grid else there)
        clips = clips if grid is None else fit_to_length(clips, grid)
        rows, columns = grid_of(clips.shape[2:], self.patch_size, grid and grid[1:])
        length = (len(shown), rows, columns)
        if self.norm_grids and length not in self.norm_grids:
            raise ValueError(
                f"Expected one of the lengths that the model has norms for, {self.norm_grids}, got "
                f"{length}."
            )
        variant = self.norm_grids.index(length) if self.norm_grids else 0
        # Patches to tokens. Frames one below the other are one picture, whose patches are those of
        # the frames: samples stay on the first axis.
        tall = clips.reshape(n, -1, *clips.shape[3:])
        x = PatchEmbed(self.patch_size, self.embed_dim, self.dtype, name="patch_embed")(
            tall, (len(shown) * rows, columns)
        )
        of_model, of_blocks = split_masks(masks, ("embed",))
        embed_mask = of_model.get("embed")
        times = tuple((shown * self.native_frames // there).tolist())
        x = masked(self._with_positions(x, (rows, columns), times), embed_mask)
        x = self._blocks(x, length, embed_mask, of_blocks, drop_path_mask)
        x = LayerNorm(variants=len(self.norm_grids), name="norm")(x, embed_mask, variant)
        # Classifier.
        if self.attention == "space":
            of_frames = x.reshape(n, len(shown), -1, x.shape[-1])[:, :, 0]
        else:
            of_frames = x[:, None, 0]
        return Dense(self.num_classes, kernel_init=linear_init, dtype=self.dtype, name="head")(
            of_frames.mean(axis=1)
        )

    def _with_positions(self, x, grid: Grid, times: tuple[int, ...]):
        token = ClassToken(name="class_token")
        per_frame = self.attention == "space"
        if per_frame:
            n, _, embed = x.shape
            by_frame = x.reshape(n, len(times), -1, embed)
            x = jnp.pad(by_frame, ((0, 0), (0, 0), (1, 0), (0, 0))).reshape(n, -1, embed)
            first = (np.arange(x.shape[1]) % (grid[0] * grid[1] + 1) == 0)[:, None]
            x = jnp.where(first, token(x)[:, :1], x)
        else:
            x = token(x)
        return SpaceTimePositions(
            self.native_grid, self.native_frames, per_frame, name="positions"
        )(x, grid, times)

    def _blocks(self, x, length: ClipGrid, embed_mask, masks, drop_path_mask):
        shared = dict(head_dim=self.head_dim, norm_grids=self.norm_grids, dtype=self.dtype)
        if self.attention == "divided":
            kind = DividedBlock
        else:
            kind = FrameBlock
            shared["joint"] = self.attention == "joint"
        kinds = [
            dict(num_heads=h, hidden=m, **shared)
            for h, m in zip(self.num_heads, self.hidden, strict=True)
        ]
        return stack(
            kinds,
            x,
            length,
            embed_mask,
            masks,
            drop_path_mask,
            scan=self.scan,
            remat=self.remat,
            kind=kind,
        )
