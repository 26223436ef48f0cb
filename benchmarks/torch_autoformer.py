"""The AutoFormer supernet in PyTorch, the peer of `vintk_jax.spaces.autoformer`. Imports neither
JAX nor our library.

Relative positions are multiplied by distance and shifted into place, as in our own model: the
published code's gathered (t, t, 64) embeddings are slower in PyTorch too, above all where every
sample has a gradient of its own.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Config(NamedTuple):
    """One architecture, as `vintk_jax.models.vit.ViT` names its fields; `grid` is the token grid's
    side.
    """

    embed_dim: int
    num_heads: tuple[int, ...]
    hidden: tuple[int, ...]
    grid: int
    in_channels: int = 3
    num_classes: int = 1000
    head_dim: int = 64
    patch_size: int = 16
    max_distance: int = 14


def _spread(x: Tensor) -> Tensor:
    """y[..., i, s] = x[..., i, s - i + g - 1]: from one column per distance, (..., g, 2g - 1), to
    one per key, (..., g, g).
    """
    g = x.shape[-2]
    if g == 1:
        return x
    flat = x.flatten(-2)[..., g - 1 : g - 1 + g * (2 * g - 2)]
    return flat.unflatten(-1, (g, 2 * g - 2))[..., :g]


def _collect(y: Tensor) -> Tensor:
    """The transpose of `_spread`: from one column per key to one per distance, zero where no key
    is.
    """
    g = y.shape[-1]
    if g == 1:
        return y
    flat = F.pad(y, (0, g - 2)).flatten(-2)
    return F.pad(flat, (g - 1, 1)).unflatten(-1, (g, 2 * g - 1))


class RelativeTables(nn.Module):
    """AutoFormer's two tables: row 0 for pairs with the class token, row 1 + max_distance for
    distance zero.
    """

    def __init__(self, max_distance: int, head_dim: int, grid: int) -> None:
        super().__init__()
        self.vertical = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(2 * max_distance + 2, head_dim), std=0.02)
        )
        self.horizontal = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(2 * max_distance + 2, head_dim), std=0.02)
        )
        self.grid = grid
        self.reach = min(grid - 1, max_distance)
        self.repeat = grid - 1 - self.reach
        self.centre = max_distance + 1

    def _by_distance(self, table: Tensor) -> Tensor:
        rows = table[self.centre - self.reach : self.centre + self.reach + 1]
        if not self.repeat:
            return rows
        return torch.cat(
            [rows[:1].expand(self.repeat, -1), rows, rows[-1:].expand(self.repeat, -1)]
        )

    def stacked(self) -> Tensor:
        """Rows for vertical distances, for horizontal ones, and for the class token."""
        class_row = self.vertical[:1] + self.horizontal[:1]
        return torch.cat(
            [self._by_distance(self.vertical), self._by_distance(self.horizontal), class_row]
        )

    def keys(self, q: Tensor) -> Tensor:
        """q_i . r(i, j) for queries (n, heads, tokens, dim): what is added to the attention's
        logits.
        """
        g = self.grid
        products = q @ self.stacked().T
        with_class = products[..., -1:]
        on_grid = products[:, :, 1:, :-1].unflatten(2, (g, g))
        vertical = _spread(on_grid[..., : 2 * g - 1].transpose(2, 3)).transpose(2, 3)
        horizontal = _spread(on_grid[..., 2 * g - 1 :])
        pairs = (vertical.unsqueeze(-1) + horizontal.unsqueeze(-2)).flatten(4).flatten(2, 3)
        top = with_class[:, :, :1].expand(-1, -1, -1, g * g + 1)
        return torch.cat([top, torch.cat([with_class[:, :, 1:], pairs], -1)], 2)

    def values(self, attention: Tensor) -> Tensor:
        """sum_j attention_ij r(i, j): what is added to the attention's output."""
        g = self.grid
        pairs = attention[:, :, 1:, 1:].unflatten(2, (g, g)).unflatten(4, (g, g))
        vertical = _collect(pairs.sum(-1).transpose(2, 3)).transpose(2, 3)
        horizontal = _collect(pairs.sum(-2))
        weights = torch.cat([vertical, horizontal], -1).flatten(2, 3)
        weights = torch.cat([weights, attention[:, :, 1:, :1]], -1)
        top = F.pad(attention[:, :, :1].sum(-1, keepdim=True), (weights.shape[-1] - 1, 0))
        return torch.cat([top, weights], 2) @ self.stacked()


def _linear(inputs: int, outputs: int) -> nn.Linear:
    layer = nn.Linear(inputs, outputs)
    nn.init.trunc_normal_(layer.weight, std=0.02)
    nn.init.zeros_(layer.bias)
    return layer


class Attention(nn.Module):
    """Multi-head self-attention with relative positions on keys and values.

    The fused kernel, `scaled_dot_product_attention`, returns no attention matrix, which the
    positions on the values need.
    """

    def __init__(self, config: Config, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.head_dim = config.head_dim
        self.qkv = _linear(config.embed_dim, 3 * heads * config.head_dim)
        self.proj = _linear(heads * config.head_dim, config.embed_dim)
        self.relative_keys = RelativeTables(config.max_distance, config.head_dim, config.grid)
        self.relative_values = RelativeTables(config.max_distance, config.head_dim, config.grid)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, embed) to the same."""
        q, k, v = (
            self.qkv(x)
            .unflatten(-1, (3, self.heads, self.head_dim))
            .permute(2, 0, 3, 1, 4)
            .unbind(0)
        )
        q = q * self.head_dim**-0.5
        attention = (q @ k.transpose(-2, -1) + self.relative_keys.keys(q)).softmax(-1)
        out = attention @ v + self.relative_values.values(attention)
        return self.proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Pre-norm transformer block."""

    def __init__(self, config: Config, heads: int, hidden: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(config.embed_dim, eps=1e-6)
        self.attention = Attention(config, heads)
        self.fc1 = _linear(config.embed_dim, hidden)
        self.fc2 = _linear(hidden, config.embed_dim)

    def forward(self, x: Tensor) -> Tensor:
        """(n, tokens, embed) to the same."""
        x = x + self.attention(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class AutoFormer(nn.Module):
    """Images (n, channels, height, width) to logits; the head reads the mean over patches."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        e = config.embed_dim
        p = config.patch_size
        self.patch_embed = nn.Conv2d(config.in_channels, e, p, p)
        self.class_token = nn.Parameter(nn.init.trunc_normal_(torch.empty(1, 1, e), std=0.02))
        self.positions = nn.Parameter(
            nn.init.trunc_normal_(torch.empty(config.grid**2 + 1, e), std=0.02)
        )
        self.blocks = nn.Sequential(
            *(
                Block(config, heads, hidden)
                for heads, hidden in zip(config.num_heads, config.hidden, strict=True)
            )
        )
        self.norm = nn.LayerNorm(e, eps=1e-6)
        self.head = _linear(e, config.num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Logits, (n, classes)."""
        x = self.patch_embed(images).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(x.shape[0], -1, -1), x], 1) + self.positions
        return self.head(self.norm(self.blocks(x))[:, 1:].mean(1))


def _affine(name: str, layer: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A Flax Dense, convolution or normalisation under PyTorch's names and in its layout."""
    weight = np.asarray(layer["kernel"] if "kernel" in layer else layer["scale"])
    weight = weight.transpose(3, 2, 0, 1) if weight.ndim == 4 else weight.T
    return {f"{name}.weight": weight, f"{name}.bias": np.asarray(layer["bias"])}


def _at(tree: Any, i: int) -> Any:
    return (
        {k: _at(v, i) for k, v in tree.items()}
        if isinstance(tree, Mapping)
        else np.asarray(tree)[i]
    )


def load_flax(model: AutoFormer, variables: Mapping[str, Any]) -> AutoFormer:
    """Copy the parameters of our ViT, scanned or not, into `model`, and return it."""
    tree = variables["params"]
    state = {"class_token": tree["class_token"]["token"], "positions": tree["positions"]["table"]}
    for name in ("patch_embed", "norm", "head"):
        state |= _affine(name, tree[name])
    for i in range(len(model.blocks)):
        block = _at(tree["blocks"]["block"], i) if "blocks" in tree else tree[f"block_{i}"]
        layers = {"norm1": block["norm1"], "norm2": block["norm2"], **block["mlp"]}
        layers |= {f"attention.{name}": block["attention"][name] for name in ("qkv", "proj")}
        for name, layer in layers.items():
            state |= _affine(f"blocks.{i}.{name}", layer)
        for tables in ("relative_keys", "relative_values"):
            state |= {
                f"blocks.{i}.attention.{tables}.{axis}": table
                for axis, table in block["attention"][tables].items()
            }
    model.load_state_dict({name: torch.tensor(np.asarray(value)) for name, value in state.items()})
    return model
