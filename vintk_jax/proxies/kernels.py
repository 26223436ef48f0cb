"""Scores that are reductions of kernels: ViNTK, and the plain NTK's."""

import math

from vintk_jax.ntk import reductions
from vintk_jax.proxies.base import Proxy


def vintk(kernels) -> float:
    """ViNTK, a first form: the log participation ratios of the plain and the Fourier kernel, added up.

    That the kernel on Fourier features of the inputs belongs into the score is the paper's (arXiv 2405.04536, abstract); the reduction and
    the sum are our choice, and a first one: the reduction is free of scale. How well it ranks is not settled. Higher is better.
    """
    return reductions.log_participation_ratio(kernels["plain"]) + reductions.log_participation_ratio(kernels["fourier"])


def ntk_cond(kernels) -> float:
    """Minus the logarithm of the plain NTK's condition number (TE-NAS, arXiv 2102.11535: smaller numbers train better)."""
    return -math.log(reductions.condition_number(kernels["plain"]))


def ntk_trace(kernels) -> float:
    """The plain NTK's trace: summed squared norms of the gradients."""
    return reductions.trace(kernels["plain"])


def ntk_frobenius(kernels) -> float:
    """The plain NTK's Frobenius norm (KNAS, arXiv 2104.09748)."""
    return reductions.frobenius_norm(kernels["plain"])


def ntk_participation(kernels) -> float:
    """The plain NTK's log participation ratio: ViNTK without its Fourier half."""
    return reductions.log_participation_ratio(kernels["plain"])


def ntk_effective_rank(kernels) -> float:
    """The plain NTK's effective rank (Roy and Vetterli 2007)."""
    return reductions.effective_rank(kernels["plain"])


def ntk_log_determinant(kernels) -> float:
    """The plain NTK's log-determinant."""
    return reductions.log_determinant(kernels["plain"])


KERNEL_PROXIES = (
    Proxy.of_kernels("vintk", vintk, "plain", "fourier"),
    Proxy.of_kernels("ntk_cond", ntk_cond, "plain"),
    Proxy.of_kernels("ntk_trace", ntk_trace, "plain"),
    Proxy.of_kernels("ntk_frobenius", ntk_frobenius, "plain"),
    Proxy.of_kernels("ntk_participation", ntk_participation, "plain"),
    Proxy.of_kernels("ntk_effective_rank", ntk_effective_rank, "plain"),
    Proxy.of_kernels("ntk_log_determinant", ntk_log_determinant, "plain"),
)
