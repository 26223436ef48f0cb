"""Search spaces so small that a whole search of one runs in seconds; also the examples of a user's
own space by import path.
"""

from vintk_jax.spaces.autoformer import AutoFormerSpace
from vintk_jax.spaces.s3 import S3Space

SPACE = AutoFormerSpace(
    "tiny-test", embed_dim=(16, 24), depth=(1, 2), num_heads=(1, 2), mlp_ratio=(1.0, 2.0)
)
S3 = S3Space(
    "mini-s3",
    embed_dim=((8, 12), (12,), (16,), (12, 16)),
    depth=((1, 2), (1,), (2,), (1,)),
    num_heads=((1, 2), (1,), (1,), (2,)),
    mlp_ratio=((1.0,), (1.0, 1.5), (1.0,), (1.0,)),
    window_size=((2, 3), (2,), (2,), (2,)),
    # 2^6 members; at 32 px windows of 3 don't divide the first stage's 8 x 8 tokens, and the last
    # has one token
)


def trace_plus_depth(kernels):
    """A user's own score."""
    return float(kernels["plain"].trace() + kernels["fourier"].trace())


def explodes(kernels):
    """A score that is not a number."""
    return float("nan")


def sometimes_explodes(kernels):
    """A score that is a number for two architectures of three, by the kernel's last digits."""
    trace = float(kernels["plain"].trace())
    return float("nan") if int(trace * 1e4) % 3 == 0 else trace


def raises(kernels):
    """A score that is at fault itself."""
    raise KeyError("planes")


def says_nothing(kernels):
    """A score that is no number."""
    return None
