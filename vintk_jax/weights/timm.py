"""timm's and DeiT's names (timm/models/vision_transformer.py). DeiT III's scales of residuals are
folded into the layers ahead of them. Distilled DeiTs are refused by `mismatch`: our ViT has no
second token.
"""

from collections.abc import Mapping

import numpy as np

from vintk_jax.weights.rules import (
    Rule,
    Rules,
    Scheme,
    linear,
    norm,
    patches,
    transposed,
    without_batch,
)

_SCALES = ("blocks.{}.ls{}.gamma", "blocks.{}.gamma_{}")  # timm's name, DeiT III's own


def _scaled_weight(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    return transposed(weight) * scale


def _scaled(ours: str, theirs: str, gamma: str | None) -> Rules:
    """A linear layer whose outputs are multiplied by `gamma`."""
    if gamma is None:
        return linear(ours, theirs)
    return {
        f"{ours}/kernel": Rule((f"{theirs}.weight", gamma), _scaled_weight),
        f"{ours}/bias": Rule((f"{theirs}.bias", gamma), np.multiply),
    }


def _scale_name(arrays: Mapping[str, np.ndarray], block: int, number: int) -> str | None:
    """The name of a block's first or second scale of residuals, if the file has it."""
    names = [name.format(block, number) for name in _SCALES]
    return next((name for name in names if name in arrays), None)


def _rules(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    rules = {
        **patches("patch_embed.proj"),
        "class_token/token": Rule(("cls_token",)),
        "positions/table": Rule(("pos_embed",), without_batch),
        **norm("norm", "norm"),
        **linear("head", "head"),
    }
    for i in range(depth):
        first = _scale_name(arrays, i, 1)
        second = _scale_name(arrays, i, 2)
        rules |= {
            **norm(f"block_{i}/norm1", f"blocks.{i}.norm1"),
            **linear(f"block_{i}/attention/qkv", f"blocks.{i}.attn.qkv"),
            **_scaled(f"block_{i}/attention/proj", f"blocks.{i}.attn.proj", first),
            **norm(f"block_{i}/norm2", f"blocks.{i}.norm2"),
            **linear(f"block_{i}/mlp/fc1", f"blocks.{i}.mlp.fc1"),
            **_scaled(f"block_{i}/mlp/fc2", f"blocks.{i}.mlp.fc2", second),
        }
    return rules


SCHEME = Scheme(
    "timm/DeiT",
    "patch_embed.proj.weight",
    r"blocks\.(\d+)\.",
    _rules,
    ("head.", "head_dist."),
    "imagenet",
)
