"""Hugging Face's names for ViT and TimeSformer, as its files have them; for ViT also as
transformers 5 has them in memory.
"""

from collections.abc import Mapping

import numpy as np

from vintk_jax.weights.rules import Rule, Rules, Scheme, linear, norm, patches

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


def _top(encoder: str) -> Rules:
    return {
        **patches(f"{encoder}embeddings.patch_embeddings.projection"),
        "class_token/token": Rule((f"{encoder}embeddings.cls_token",)),
        **norm("norm", f"{encoder}layernorm"),
        **linear("head", "classifier"),
    }


def _vit(encoder: str, arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    named = _MEMORY if any(name.startswith(f"{encoder}layers.") for name in arrays) else _FILE
    found = _top(encoder) | {
        "positions/table": Rule(
            (f"{encoder}embeddings.position_embeddings",), lambda table: table[0]
        )
    }
    for i in range(depth):
        block = encoder + named["block"].format(i)
        parts = [f"{block}.{named[part]}" for part in ("query", "key", "value")]
        found |= {
            **norm(f"block_{i}/norm1", f"{block}.layernorm_before"),
            f"block_{i}/attention/qkv/kernel": Rule(
                tuple(f"{p}.weight" for p in parts), lambda *qkv: np.concatenate(qkv).T
            ),
            f"block_{i}/attention/qkv/bias": Rule(
                tuple(f"{p}.bias" for p in parts), lambda *qkv: np.concatenate(qkv)
            ),
            **linear(f"block_{i}/attention/proj", f"{block}.{named['out']}"),
            **norm(f"block_{i}/norm2", f"{block}.layernorm_after"),
            **linear(f"block_{i}/mlp/fc1", f"{block}.{named['fc1']}"),
            **linear(f"block_{i}/mlp/fc2", f"{block}.{named['fc2']}"),
        }
    return found


def _timesformer(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    encoder = "timesformer."
    found = _top(encoder) | {
        "positions/places": Rule(
            (f"{encoder}embeddings.position_embeddings",), lambda table: table[0]
        )
    }
    # attention within frames has none
    if (times := f"{encoder}embeddings.time_embeddings") in arrays:
        found["positions/times"] = Rule((times,), lambda table: table[0])
    divided = any(".temporal_attention." in name for name in arrays)
    for i in range(depth):
        block = f"{encoder}encoder.layer.{i}"
        found |= {
            **norm(f"block_{i}/norm1", f"{block}.layernorm_before"),
            **_qkv_proj(f"block_{i}/attention", f"{block}.attention"),
            **norm(f"block_{i}/norm2", f"{block}.layernorm_after"),
            **linear(f"block_{i}/mlp/fc1", f"{block}.intermediate.dense"),
            **linear(f"block_{i}/mlp/fc2", f"{block}.output.dense"),
        }
        if divided:
            found |= {
                **norm(f"block_{i}/norm_time", f"{block}.temporal_layernorm"),
                **_qkv_proj(f"block_{i}/attention_time", f"{block}.temporal_attention"),
                **linear(f"block_{i}/time_out", f"{block}.temporal_dense"),
            }
    return found


def _qkv_proj(ours: str, theirs: str) -> Rules:
    return linear(f"{ours}/qkv", f"{theirs}.attention.qkv") | linear(
        f"{ours}/proj", f"{theirs}.output.dense"
    )


_MARK = "embeddings.patch_embeddings.projection.weight"
VIT = Scheme(
    "Hugging Face's ViT",
    f"vit.{_MARK}",
    r"vit\.(?:encoder\.layer|layers)\.(\d+)\.",
    lambda arrays, depth: _vit("vit.", arrays, depth),
    ("classifier.", "vit.pooler."),
    "half",
)
BARE_VIT = Scheme(
    "Hugging Face's ViT without a classifier",
    _MARK,
    r"(?:encoder\.layer|layers)\.(\d+)\.",
    lambda arrays, depth: _vit("", arrays, depth),
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
