"""The LV-ViT space: published sizes, the kernel by its definition, bad architectures."""

import pytest

from vintk_jax import spaces
from vintk_jax.spaces import supernet_conformance
from vintk_jax.spaces.lvvit import LvVitSpace

SPACE = spaces.get("lvvit")
MINI = LvVitSpace("mini-lvvit", (16, 24), (1, 2), (4, 6), (1, 2), (1.0, 1.5))
SMALL = {
    "embed_dim": 384,
    "depth": 16,
    "stem_width": 64,
    "num_heads": [6] * 16,
    "mlp_ratio": [3] * 16,
}


def test_published_size():
    """LV-ViT-S is a member: 26.15 M parameters (its README) and the biases of queries, keys and
    values that it lacks; 6.6 G multiply-adds.
    """
    cost = SPACE.cost(SPACE.from_json(SMALL))
    assert round((cost.params - 16 * 3 * 384) / 1e6, 2) == 26.15
    assert round(cost.flops / 1e9, 1) == 6.6


def test_kernel_is_the_jacobians():
    """The structured kernel of the masked, scanned supernet is the full Jacobian's."""
    supernet_conformance.kernel(
        MINI, [MINI.decode({**MINI.encode(MINI.example()), "depth": 2, "num_heads_1": 2})], 32
    )


def test_architectures_outside_the_space():
    """The field at fault is named."""
    for change, words in (
        ({"stem_width": 128}, "stem_width=128"),
        ({"num_heads": [6] * 15}, "entries of num_heads at depth=16, got 15"),
    ):
        with pytest.raises(spaces.InvalidArchitecture, match=words):
            SPACE.from_json({**SMALL, **change})
