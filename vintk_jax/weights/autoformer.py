"""The AutoFormer supernet's names (microsoft/Cream, AutoFormer/model/supernet_transformer.py), and
cutting an architecture's weights out of it.

There, query, key and value of a channel are three rows of a weight one after another (`qkv_super`:
rows i, i + 3, i + 6, ...), so that the first rows are the first channels of all three. Ours come
one behind the other. Its biases have another order: of w channels, the first w are the query's, the
next w the key's. So a bias means another channel in blocks of fewer heads. Our masked supernet,
whose channels keep their biases, has theirs only where a block has all its heads. Architectures
that are cut out always have theirs. Files of single architectures are supernets too.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.models.vit import ViT
from vintk_jax.spaces.autoformer import HEAD_DIM
from vintk_jax.spaces.cutting import cut_block, leading
from vintk_jax.weights.rules import Rule, Rules, Scheme, linear, norm, patches, without_batch


def _apart(rows: np.ndarray) -> np.ndarray:
    """Rows of query, key and value by turns -> all of query, then of key, then of value."""
    return np.concatenate([rows[part::3] for part in range(3)])


def _qkv_kernel(weight: np.ndarray) -> np.ndarray:
    return _apart(weight).T


def _rules(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    rules = {
        **patches("patch_embed_super.proj"),
        "class_token/token": Rule(("cls_token",)),
        "positions/table": Rule(("pos_embed",), without_batch),
        **norm("norm", "norm"),
        **linear("head", "head"),
    }
    for i in range(depth):
        ours = f"block_{i}"
        theirs = f"blocks.{i}"
        rules |= {
            **norm(f"{ours}/norm1", f"{theirs}.attn_layer_norm"),
            f"{ours}/attention/qkv/kernel": Rule((f"{theirs}.attn.qkv.weight",), _qkv_kernel),
            f"{ours}/attention/qkv/bias": Rule((f"{theirs}.attn.qkv.bias",)),
            **linear(f"{ours}/attention/proj", f"{theirs}.attn.proj"),
            **norm(f"{ours}/norm2", f"{theirs}.ffn_layer_norm"),
            **linear(f"{ours}/mlp/fc1", f"{theirs}.fc1"),
            **linear(f"{ours}/mlp/fc2", f"{theirs}.fc2"),
        }
        for which, letter in {"keys": "k", "values": "v"}.items():
            tables = f"{theirs}.attn.rel_pos_embed_{letter}.embeddings_table_"
            rules |= {
                f"{ours}/attention/relative_{which}/{axis}": Rule((tables + axis[0],))
                for axis in ("vertical", "horizontal")
            }
    return rules


SCHEME = Scheme(
    "AutoFormer's supernet",
    "patch_embed_super.proj.weight",
    r"blocks\.(\d+)\.",
    _rules,
    ("head.",),
    "imagenet",
    supernet=True,
)


def check_settings(settings: Mapping[str, Any], path: Any) -> None:
    """Refuse a supernet that was trained without what the published ones have.

    Raises:
        UserError: naming what our models don't have otherwise.
    """
    wanted = {
        "change_qkv": True,
        "relative_position": True,
        "gp": True,
        "post_norm": False,
        "no_abs_pos": False,
    }
    differ = [
        f"{name}={settings[name]}"
        for name, value in wanted.items()
        if name in settings and bool(settings[name]) != value
    ]
    if differ:
        raise UserError(
            f"{path} was trained with {', '.join(differ)}; the published supernets have {wanted}, "
            "and so have our models."
        )


def cut(tree: dict[str, Any], model: ViT) -> dict[str, Any]:
    """Leading columns of every weight, as many as the model has. The model is an architecture, or
    our supernet, which is narrower than theirs (240 of 256).

    Args:
        tree: nested, by our names; what it lacks is left out.
    """
    narrow: dict[str, Any] = {
        name: leading(tree[name], model.embed_dim)
        for name in ("patch_embed", "class_token", "positions", "norm")
    }
    narrow["head"] = {
        "kernel": tree["head"]["kernel"][: model.embed_dim],
        "bias": tree["head"]["bias"],
    }
    for i, (heads, hidden) in enumerate(zip(model.num_heads, model.hidden, strict=True)):
        block = tree.get(f"block_{i}")
        if block is None:
            continue
        widest = (block["attention"]["proj"]["kernel"].shape[0] // HEAD_DIM, HEAD_DIM)
        new = cut_block(block, model.embed_dim, heads, model.head_dim, hidden, widest)
        bias = block["attention"]["qkv"]["bias"]
        new["attention"]["qkv"]["bias"] = bias[: 3 * heads * model.head_dim]
        narrow[f"block_{i}"] = new
    return narrow
