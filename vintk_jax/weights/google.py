"""Google's names in .npz: the original ViT and AugReg (google-research/vision_transformer),
FlexiViT and others (google-research/big_vision).

The two number the parts of a block in different ways. big_vision keeps positions at the top, and
all blocks in one array where it scans. Our GELU is exact, as timm's; theirs is the tanh
approximation.
"""

from collections.abc import Mapping
from operator import itemgetter

import numpy as np

from vintk_jax.weights.rules import Rule, Rules, Scheme, unchanged, without_batch

_TOP = "embedding/kernel"
_MIDDLE = "Transformer/encoderblock"


def _rules(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    scanned = f"{_MIDDLE}/LayerNorm_0/scale" in arrays
    recent = scanned or f"{_MIDDLE}_0/LayerNorm_1/scale" in arrays
    attention, mlp, second = ("0", "0", "1") if recent else ("1", "3", "2")
    positions = next(
        (n for n in ("pos_embedding", "Transformer/pos_embedding") if n in arrays),
        "Transformer/posembed_input/pos_embedding",
    )
    rules = {
        "patch_embed/kernel": Rule((_TOP,)),
        "patch_embed/bias": Rule(("embedding/bias",)),
        "class_token/token": Rule(("cls",)),
        "positions/table": Rule((positions,), without_batch),
        "norm/scale": Rule(("Transformer/encoder_norm/scale",)),
        "norm/bias": Rule(("Transformer/encoder_norm/bias",)),
        "head/kernel": Rule(("head/kernel",)),
        "head/bias": Rule(("head/bias",)),
    }
    layers = len(arrays[f"{_MIDDLE}/LayerNorm_0/scale"]) if scanned else depth
    for i in range(layers):
        block = _MIDDLE if scanned else f"{_MIDDLE}_{i}"
        of_block = itemgetter(i) if scanned else unchanged
        heads = f"{block}/MultiHeadDotProductAttention_{attention}"

        def qkv(leaf, heads=heads):
            return tuple(f"{heads}/{part}/{leaf}" for part in ("query", "key", "value"))

        def joined(*parts, of_block=of_block):
            parts = [of_block(part) for part in parts]
            return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)

        def flat(*parts, of_block=of_block):
            return np.concatenate([of_block(part).reshape(-1) for part in parts])

        def without_heads(kernel, of_block=of_block):
            return of_block(kernel).reshape(-1, kernel.shape[-1])

        rules |= {
            f"block_{i}/attention/qkv/kernel": Rule(qkv("kernel"), joined),
            f"block_{i}/attention/qkv/bias": Rule(qkv("bias"), flat),
            f"block_{i}/attention/proj/kernel": Rule((f"{heads}/out/kernel",), without_heads),
            f"block_{i}/attention/proj/bias": Rule((f"{heads}/out/bias",), of_block),
        }
        for ours, theirs in {"norm1": "LayerNorm_0", "norm2": f"LayerNorm_{second}"}.items():
            rules |= {
                f"block_{i}/{ours}/{leaf}": Rule((f"{block}/{theirs}/{leaf}",), of_block)
                for leaf in ("scale", "bias")
            }
        for ours, theirs in {"fc1": "Dense_0", "fc2": "Dense_1"}.items():
            rules |= {
                f"block_{i}/mlp/{ours}/{leaf}": Rule(
                    (f"{block}/MlpBlock_{mlp}/{theirs}/{leaf}",), of_block
                )
                for leaf in ("kernel", "bias")
            }
    return rules


SCHEME = Scheme(
    "Google's .npz",
    _TOP,
    _MIDDLE + r"_(\d+)/",
    _rules,
    ("head/", "pre_logits/"),
    "half",
    prefixes=("opt/target/", "params/", "params/img/"),
)
