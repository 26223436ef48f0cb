"""A space of AutoFormers small enough to be trained on 2 cores:
`--config.space=benchmarks.cifar_space:MINI`.
"""

from vintk_jax.spaces.autoformer import AutoFormerSpace

MINI = AutoFormerSpace(
    "autoformer-mini",
    embed_dim=(48, 64, 80, 96),
    depth=(3, 4, 5, 6),
    num_heads=(1, 2),
    mlp_ratio=(2.0, 3.0, 4.0),
)
