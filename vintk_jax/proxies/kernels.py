"""Scores that are reductions of kernels: ViNTK, and the plain NTK's."""

import math

from vintk_jax.ntk import reductions
from vintk_jax.proxies.base import STEM, Proxy


def blocks_effect(kernels, view: str) -> float:
    """How far the blocks move the share of the gradients' power that tells inputs apart, from where
    a network without blocks begins.

    Without blocks, pooled tokens tell all images apart (a share near 1) and lose some of it from
    block to block; a class token tells none apart (exactly 0) and gains. The distance means the
    same for both, where every spectral number of the kernel alone changes its sign. The beginning
    is taken as 1 or 0, whichever the stem is nearer to: a stem's own 0.98 differs by width, and
    that difference says nothing.
    """
    begin = round(reductions.distinct_share(kernels[f"{view}{STEM}"]))
    return abs(begin - reductions.distinct_share(kernels[view]))


def vintk(kernels) -> float:
    """ViNTK: the effect of the blocks on the plain kernel plus that on the kernel of random Fourier
    features.

    That the kernel on Fourier features of the inputs belongs into the score is the paper's (arXiv
    2405.04536, abstract). The reduction (`blocks_effect`), the sum, and the features (of pixels'
    positions, sigma 3) are our choice, by the evidence in docs/proxies.md. Higher is better.
    """
    return blocks_effect(kernels, "plain") + blocks_effect(kernels, "fourier")


def vintk_plain(kernels) -> float:
    """ViNTK without Fourier features: its ablation."""
    return blocks_effect(kernels, "plain")


def vintk_fourier(kernels) -> float:
    """ViNTK's Fourier half alone: its other ablation."""
    return blocks_effect(kernels, "fourier")


def ntk_cond(kernels) -> float:
    """Minus the logarithm of the plain NTK's condition number (TE-NAS, arXiv 2102.11535: smaller
    numbers train better).
    """
    return -math.log(reductions.condition_number(kernels["plain"]))


def ntk_trace(kernels) -> float:
    """The plain NTK's trace: summed squared norms of the gradients."""
    return reductions.trace(kernels["plain"])


def ntk_frobenius(kernels) -> float:
    """The plain NTK's Frobenius norm (KNAS, arXiv 2104.09748)."""
    return reductions.frobenius_norm(kernels["plain"])


def ntk_participation(kernels) -> float:
    """The plain NTK's log participation ratio: how many eigenvalues share its trace."""
    return reductions.log_participation_ratio(kernels["plain"])


def ntk_effective_rank(kernels) -> float:
    """The plain NTK's effective rank (Roy and Vetterli 2007)."""
    return reductions.effective_rank(kernels["plain"])


def ntk_log_determinant(kernels) -> float:
    """The plain NTK's log-determinant."""
    return reductions.log_determinant(kernels["plain"])


KERNEL_PROXIES = (
    Proxy.of_kernels("vintk", vintk, "plain", "fourier", f"plain{STEM}", f"fourier{STEM}"),
    Proxy.of_kernels("vintk_plain", vintk_plain, "plain", f"plain{STEM}"),
    Proxy.of_kernels("vintk_fourier", vintk_fourier, "fourier", f"fourier{STEM}"),
    Proxy.of_kernels("ntk_cond", ntk_cond, "plain"),
    Proxy.of_kernels("ntk_trace", ntk_trace, "plain"),
    Proxy.of_kernels("ntk_frobenius", ntk_frobenius, "plain"),
    Proxy.of_kernels("ntk_participation", ntk_participation, "plain"),
    Proxy.of_kernels("ntk_effective_rank", ntk_effective_rank, "plain"),
    Proxy.of_kernels("ntk_log_determinant", ntk_log_determinant, "plain"),
)
