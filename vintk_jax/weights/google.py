"""Google's names in .npz: the original ViT and AugReg (google-research/vision_transformer),
FlexiViT and others (google-research/big_vision).

The two number the parts of a block otherwise; big_vision keeps positions at the top and, where it
scans, all blocks in one array. Our GELU is exact, as timm's; theirs is the tanh approximation.
"""

from collections.abc import Mapping

import numpy as np

from vintk_jax.weights.rules import Rule, Rules, Scheme

_TOP, _MIDDLE = "embedding/kernel", "Transformer/encoderblock"


def _rules(arrays: Mapping[str, np.ndarray], depth: int) -> Rules:
    scanned = f"{_MIDDLE}/LayerNorm_0/scale" in arrays
    recent = scanned or f"{_MIDDLE}_0/LayerNorm_1/scale" in arrays
    attention, mlp, second = ("0", "0", "1") if recent else ("1", "3", "2")
    positions = next(
        (n for n in ("pos_embedding", "Transformer/pos_embedding") if n in arrays),
        "Transformer/posembed_input/pos_embedding",
    )
    found = {
        "patch_embed/kernel": Rule((_TOP,)),
        "patch_embed/bias": Rule(("embedding/bias",)),
        "class_token/token": Rule(("cls",)),
        "positions/table": Rule((positions,), lambda table: table[0]),
        "norm/scale": Rule(("Transformer/encoder_norm/scale",)),
        "norm/bias": Rule(("Transformer/encoder_norm/bias",)),
        "head/kernel": Rule(("head/kernel",)),
        "head/bias": Rule(("head/bias",)),
    }
    layers = len(arrays[f"{_MIDDLE}/LayerNorm_0/scale"]) if scanned else depth
    for i in range(layers):
        block = _MIDDLE if scanned else f"{_MIDDLE}_{i}"
        one = (lambda array, i=i: array[i]) if scanned else lambda array: array
        heads = f"{block}/MultiHeadDotProductAttention_{attention}"

        def qkv(leaf, heads=heads):
            return tuple(f"{heads}/{part}/{leaf}" for part in ("query", "key", "value"))

        def joined(*parts, one=one):
            return np.concatenate([one(p).reshape(len(one(p)), -1) for p in parts], axis=1)

        def flat(*parts, one=one):
            return np.concatenate([one(p).reshape(-1) for p in parts])

        found |= {
            f"block_{i}/attention/qkv/kernel": Rule(qkv("kernel"), joined),
            f"block_{i}/attention/qkv/bias": Rule(qkv("bias"), flat),
            f"block_{i}/attention/proj/kernel": Rule(
                (f"{heads}/out/kernel",), lambda a, one=one: one(a).reshape(-1, a.shape[-1])
            ),
            f"block_{i}/attention/proj/bias": Rule((f"{heads}/out/bias",), one),
        }
        for ours, theirs in {"norm1": "LayerNorm_0", "norm2": f"LayerNorm_{second}"}.items():
            found |= {
                f"block_{i}/{ours}/{leaf}": Rule((f"{block}/{theirs}/{leaf}",), one)
                for leaf in ("scale", "bias")
            }
        for ours, theirs in {"fc1": "Dense_0", "fc2": "Dense_1"}.items():
            found |= {
                f"block_{i}/mlp/{ours}/{leaf}": Rule(
                    (f"{block}/MlpBlock_{mlp}/{theirs}/{leaf}",), one
                )
                for leaf in ("kernel", "bias")
            }
    return found


SCHEME = Scheme(
    "Google's .npz",
    _TOP,
    _MIDDLE + r"_(\d+)/",
    _rules,
    ("head/", "pre_logits/"),
    "half",
    prefixes=("opt/target/", "params/", "params/img/"),
)
