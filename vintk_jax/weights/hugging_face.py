"""Hugging Face's names for ViT and TimeSformer, as its files have them. For ViT also as
transformers 5 has them in memory.
"""

import functools
from collections.abc import Mapping

import numpy as np

from vintk_jax.weights.rules import Rule, Rules, Scheme, linear, norm, patches, without_batch

# In files, then in the memory of transformers 5: where a block is, and its parts.
_FILE = {
    "block": "encoder.layer.{}",
    "query": "attention.attention.query",
    "key": "attention.attention.key",
    "value": "attention.attention.value",
    "out": "attention.output.dense",
    "fc1": "intermediate.dense",
    "fc2": "output.dense",
}
_MEMORY = {
    "block": "layers.{}",
    "query": "attention.q_proj",
    "key": "attention.k_proj",
    "value": "attention.v_proj",
    "out": "attention.o_proj",
    "fc1": "mlp.fc1",
    "fc2": "mlp.fc2",
}


def _joined(*qkv: np.ndarray) -> np.ndarray:
    return np.concatenate(qkv)


def _joined_weights(*qkv: np.ndarray) -> np.ndarray:
    return _joined(*qkv).T


def _top(encoder: str) -> Rules:
    return {
        **patches(f"{encoder}embeddings.patch_embeddings.projection"),
        "class_token/token": Rule((f"{encoder}embeddings.cls_token",)),
        **norm("norm", f"{encoder}layernorm"),
        **linear("head", "classifier"),
    }


def _vit(encoder: str, arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    named = _MEMORY if any(name.startswith(f"{encoder}layers.") for name in arrays) else _FILE
    rules = _top(encoder) | {
        "positions/table": Rule((f"{encoder}embeddings.position_embeddings",), without_batch)
    }
    for i in range(depth):
        block = encoder + named["block"].format(i)
        parts = [f"{block}.{named[part]}" for part in ("query", "key", "value")]
        rules |= {
            **norm(f"block_{i}/norm1", f"{block}.layernorm_before"),
            f"block_{i}/attention/qkv/kernel": Rule(
                tuple(f"{part}.weight" for part in parts), _joined_weights
            ),
            f"block_{i}/attention/qkv/bias": Rule(tuple(f"{part}.bias" for part in parts), _joined),
            **linear(f"block_{i}/attention/proj", f"{block}.{named['out']}"),
            **norm(f"block_{i}/norm2", f"{block}.layernorm_after"),
            **linear(f"block_{i}/mlp/fc1", f"{block}.{named['fc1']}"),
            **linear(f"block_{i}/mlp/fc2", f"{block}.{named['fc2']}"),
        }
    return rules


def _timesformer(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    encoder = "timesformer."
    rules = _top(encoder) | {
        "positions/places": Rule((f"{encoder}embeddings.position_embeddings",), without_batch)
    }
    # attention within frames has none
    if (times := f"{encoder}embeddings.time_embeddings") in arrays:
        rules["positions/times"] = Rule((times,), without_batch)
    divided = any(".temporal_attention." in name for name in arrays)
    for i in range(depth):
        block = f"{encoder}encoder.layer.{i}"
        rules |= {
            **norm(f"block_{i}/norm1", f"{block}.layernorm_before"),
            **_qkv_proj(f"block_{i}/attention", f"{block}.attention"),
            **norm(f"block_{i}/norm2", f"{block}.layernorm_after"),
            **linear(f"block_{i}/mlp/fc1", f"{block}.intermediate.dense"),
            **linear(f"block_{i}/mlp/fc2", f"{block}.output.dense"),
        }
        if divided:
            rules |= {
                **norm(f"block_{i}/norm_time", f"{block}.temporal_layernorm"),
                **_qkv_proj(f"block_{i}/attention_time", f"{block}.temporal_attention"),
                **linear(f"block_{i}/time_out", f"{block}.temporal_dense"),
            }
    return rules


def _qkv_proj(ours: str, theirs: str) -> Rules:
    return linear(f"{ours}/qkv", f"{theirs}.attention.qkv") | linear(
        f"{ours}/proj", f"{theirs}.output.dense"
    )


_MARK = "embeddings.patch_embeddings.projection.weight"
VIT = Scheme(
    "Hugging Face's ViT",
    f"vit.{_MARK}",
    r"vit\.(?:encoder\.layer|layers)\.(\d+)\.",
    functools.partial(_vit, "vit."),
    ("classifier.", "vit.pooler."),
    "half",
)
BARE_VIT = Scheme(
    "Hugging Face's ViT without a classifier",
    _MARK,
    r"(?:encoder\.layer|layers)\.(\d+)\.",
    functools.partial(_vit, ""),
    ("classifier.", "pooler."),
    "half",
)
TIMESFORMER = Scheme(
    "Hugging Face's TimeSformer",
    f"timesformer.{_MARK}",
    r"timesformer\.encoder\.layer\.(\d+)\.",
    _timesformer,
    ("classifier.",),
    "kinetics",
)
