"""A ViT's weights under timm's names, for `timm_model.VisionTransformer` and, where all blocks are
alike, timm's own.
"""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

import jax
import numpy as np
from safetensors.numpy import save

from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import OneLength
from vintk_jax.models.regions import Regions
from vintk_jax.models.vit import ViT

_NAMES = {  # ours within a block: timm's, or AutoFormer's
    "norm1": "norm1",
    "attention/qkv": "attn.qkv",
    "attention/proj": "attn.proj",
    "attention/relative_keys/vertical": "attn.rel_pos_embed_k.embeddings_table_v",
    "attention/relative_keys/horizontal": "attn.rel_pos_embed_k.embeddings_table_h",
    "attention/relative_values/vertical": "attn.rel_pos_embed_v.embeddings_table_v",
    "attention/relative_values/horizontal": "attn.rel_pos_embed_v.embeddings_table_h",
    "norm2": "norm2",
    "mlp/fc1": "mlp.fc1",
    "mlp/fc2": "mlp.fc2",
}


def check(one: OneLength) -> ViT:
    """The model, if it is a plain ViT.

    Raises:
        UserError: for one that timm's style doesn't have: clips, stems, other spaces' networks.
    """
    model = one.model
    if isinstance(one.grid, Regions):
        raise UserError(
            f"formats name timm, which has one pass; a length by region ({one.grid}) has two. Take "
            "stablehlo or onnx."
        )
    if type(model) is not ViT or model.stem_width or model.aux_head:
        raise UserError(
            "formats name timm, which is for plain ViTs (DeiT, AutoFormer); this workdir holds a "
            f"{type(model).__name__}"
            f"{' with a stem and a classifier of patches (LV-ViT)' if type(model) is ViT else ''}. "
            "Take stablehlo or onnx."
        )
    return model


def sizes(one: OneLength) -> dict[str, Any]:
    """What `timm_model.VisionTransformer` is made with, but for the classes."""
    model = check(one)
    return {
        "embed_dim": model.embed_dim,
        "num_heads": list(model.num_heads),
        "hidden": list(model.hidden),
        "head_dim": model.head_dim,
        "patch_size": model.patch_size,
        "grid": list(model.native_grid),
        "pool": model.pool,
        "max_distance": model.max_distance,
        "residual_scale": model.residual_scale,
    }


def state_dict(one: OneLength) -> dict[str, np.ndarray]:
    """Weights by timm's names, float32."""
    check(one)

    def as_float32(leaf: Any) -> np.ndarray:
        return np.asarray(leaf, np.float32)

    tree = jax.tree.map(as_float32, dict(one.variables["params"]))
    weights = {
        **_layer("patch_embed.proj", tree["patch_embed"]),
        "cls_token": tree["class_token"]["token"],
        "pos_embed": tree["positions"]["table"][None],
        **_layer("norm", tree["norm"]),
        **_layer("head", tree["head"]),
    }
    for i, block in enumerate(_blocks(tree)):
        for ours, theirs in _NAMES.items():
            part = block
            for name in ours.split("/"):
                part = part.get(name) if part is not None else None
            if part is not None:
                weights |= _layer(f"blocks.{i}.{theirs}", part)
    return {name: np.ascontiguousarray(array) for name, array in weights.items()}


def _blocks(tree: Mapping[str, Any]) -> list[dict]:
    """Variables of each block, of a scanned stack too."""
    if "blocks" not in tree:
        return [tree[f"block_{i}"] for i in range(sum(name.startswith("block_") for name in tree))]
    stacked = tree["blocks"]["block"]
    depth = len(jax.tree.leaves(stacked)[0])
    return [jax.tree.map(itemgetter(i), stacked) for i in range(depth)]


def _layer(name: str, layer: Mapping[str, np.ndarray] | np.ndarray) -> dict[str, np.ndarray]:
    """A linear layer, convolution, norm or table."""
    if isinstance(layer, np.ndarray):
        return {name: layer}
    weight = layer["scale"] if "scale" in layer else np.moveaxis(layer["kernel"], (-1, -2), (0, 1))
    return {f"{name}.weight": weight, f"{name}.bias": layer["bias"]}


def safetensors(one: OneLength) -> bytes:
    """The file's bytes."""
    return save(state_dict(one))
