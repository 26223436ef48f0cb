"""A vision transformer in PyTorch in timm's style, with a choice of heads and MLP width in every
block; torch and safetensors are all it needs.

    from timm_model import create_model

    # the longest length, or create_model(folder, "4"), by its number of tokens
    model = create_model("path/to/folder")
    # images: float (n, 3, *model.input_size), standardised as model.mean and model.std say
    logits = model(images)

Parameters have timm's names. Where all blocks are alike and have no relative positions, timm's own
VisionTransformer takes the same weights.
"""

import json
import pathlib

import torch
from safetensors.torch import load_file
from torch import nn


class RelativePositions(nn.Module):
    """AutoFormer's (arXiv 2107.00651): an embedding for each vertical distance plus one for each
    horizontal. Row 0 stands for pairs that are not two patches.
    """

    def __init__(self, grid, max_distance, head_dim):
        super().__init__()
        self.embeddings_table_v = nn.Parameter(torch.zeros(2 * max_distance + 2, head_dim))
        self.embeddings_table_h = nn.Parameter(torch.zeros(2 * max_distance + 2, head_dim))
        row, column = (
            axis.flatten()
            for axis in torch.meshgrid(torch.arange(grid[0]), torch.arange(grid[1]), indexing="ij")
        )
        for name, place in (("rows", row), ("columns", column)):
            distance = (
                (place[None] - place[:, None]).clamp(-max_distance, max_distance) + max_distance + 1
            )
            self.register_buffer(name, nn.functional.pad(distance, (1, 0, 1, 0)), persistent=False)

    def forward(self):
        return self.embeddings_table_v[self.rows] + self.embeddings_table_h[self.columns]


class Attention(nn.Module):
    def __init__(self, dim, num_heads, head_dim, grid, max_distance):
        super().__init__()
        self.num_heads = num_heads
        self.head_dim = head_dim
        self.qkv = nn.Linear(dim, 3 * num_heads * head_dim)
        self.proj = nn.Linear(num_heads * head_dim, dim)

        def positions():
            return RelativePositions(grid, max_distance, head_dim) if max_distance else None

        self.rel_pos_embed_k = positions()
        self.rel_pos_embed_v = positions()

    def forward(self, x):
        n, tokens, _ = x.shape
        q, k, v = (
            self.qkv(x).reshape(n, tokens, 3, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        )
        q = q * self.head_dim**-0.5
        logits = q @ k.transpose(-2, -1)
        if self.rel_pos_embed_k is not None:
            logits = logits + torch.einsum("nhqd,qkd->nhqk", q, self.rel_pos_embed_k())
        attention = logits.softmax(dim=-1)
        out = attention @ v
        if self.rel_pos_embed_v is not None:
            out = out + torch.einsum("nhqk,qkd->nhqd", attention, self.rel_pos_embed_v())
        return self.proj(out.transpose(1, 2).reshape(n, tokens, -1))


class Mlp(nn.Module):
    def __init__(self, dim, hidden):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.fc2 = nn.Linear(hidden, dim)

    def forward(self, x):
        return self.fc2(nn.functional.gelu(self.fc1(x)))


class Block(nn.Module):
    def __init__(self, dim, num_heads, head_dim, hidden, grid, max_distance, residual_scale):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, num_heads, head_dim, grid, max_distance)
        self.mlp = Mlp(dim, hidden)
        self.residual_scale = residual_scale

    def forward(self, x):
        x = x + self.residual_scale * self.attn(self.norm1(x))
        return x + self.residual_scale * self.mlp(self.norm2(x))


class PatchEmbed(nn.Module):
    def __init__(self, patch_size, dim):
        super().__init__()
        self.proj = nn.Conv2d(3, dim, patch_size, stride=patch_size)

    def forward(self, images):
        return self.proj(images).flatten(2).transpose(1, 2)


class VisionTransformer(nn.Module):
    def __init__(
        self,
        embed_dim,
        num_heads,
        hidden,
        head_dim,
        patch_size,
        grid,
        num_classes,
        pool,
        max_distance,
        residual_scale,
    ):
        super().__init__()
        self.pool = pool
        self.patch_embed = PatchEmbed(patch_size, embed_dim)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dim))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid[0] * grid[1], embed_dim))
        self.blocks = nn.Sequential(
            *(
                Block(embed_dim, heads, head_dim, width, grid, max_distance, residual_scale)
                for heads, width in zip(num_heads, hidden)
            )
        )
        self.norm = nn.LayerNorm(embed_dim, eps=1e-6)
        self.head = nn.Linear(embed_dim, num_classes)

    def forward_features(self, images):
        x = self.patch_embed(images)
        x = torch.cat([self.cls_token.expand(len(x), -1, -1), x], dim=1) + self.pos_embed
        return self.norm(self.blocks(x))

    def forward_head(self, x, pre_logits=False):
        x = x[:, 0] if self.pool == "token" else x[:, 1:].mean(dim=1)
        return x if pre_logits else self.head(x)

    def forward(self, images):
        return self.forward_head(self.forward_features(images))


def create_model(folder, length=None):
    folder = pathlib.Path(folder)
    described = json.loads((folder / "model.json").read_text())
    length = length or described["lengths"][-1]
    program = described["programs"][length]
    model = VisionTransformer(**program["timm_sizes"], num_classes=len(described["classes"]))
    model.load_state_dict(load_file(folder / program["timm"]))
    model.input_size = program["input_size"]
    model.mean = described["mean"]
    model.std = described["std"]
    return model.eval()
