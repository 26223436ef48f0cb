"""Scores that are reductions of kernels: ViNTK, and the plain NTK's."""

import math

import numpy as np

from vintk_jax.ntk import reductions
from vintk_jax.ntk.ridge_regression import left_out_error
from vintk_jax.proxies import costs
from vintk_jax.proxies.base import STEM, Measurement, Proxy

# Both, and inputs.num_images, were chosen on the first half of cifar_vit (docs/score_protocol.md).
RIDGE = 5.0  # in mean eigenvalues of the centred kernel, times n^-2
WEIGHT = 4.0


def vintk_kernel(kernels) -> float:
    """ViNTK's kernel alone: minus the logarithm of a left-out error. Higher is better.

    The error is that of ridge regression with the plain kernel, where each image is predicted from
    all others and the targets are independent from image to image. Such targets can't be
    predicted. What differs is how much of one image's value spills over to another's: little for a
    kernel that tells images apart evenly.

    The targets are the limit of random Fourier features of the images, as their frequency grows.
    The higher it is, the better the left-out error orders trained accuracies (docs/proxies.md). In
    the limit the features' inner products are the unit matrix, and none has to be drawn. That high
    frequencies tell vision transformers apart is the paper's (arXiv 2405.04536, abstract). That
    they stand on the side of what is learned, and the form, are our choice, by
    docs/score_protocol.md.
    """
    n = len(kernels["plain"])
    return -math.log(left_out_error(kernels["plain"], np.eye(n), RIDGE / n**2))


def vintk(measured) -> float:
    """ViNTK: the logarithm of the multiply-adds, plus 4 times what the tangent kernel adds: how
    little noise it carries from one image to another.

    Of the counts, multiply-adds order trained accuracies best where size says little. Where
    architectures differ in size alone, their kernels hardly differ and the count decides; at equal
    cost the kernel does (docs/proxies.md). The sum and the weight are our choice, by
    docs/score_protocol.md.
    """
    return math.log(measured["flops"]) + WEIGHT * vintk_kernel(measured)


def _effect(kernels, view: str) -> float:
    begin = round(reductions.distinct_share(kernels[f"{view}{STEM}"]))
    return abs(begin - reductions.distinct_share(kernels[view]))


def blocks_effect(kernels) -> float:
    """The former `vintk`: how far the blocks move the share of the gradients' power that tells
    inputs apart, from where a network without blocks begins; on the plain kernel plus on that of
    random Fourier features.

    Without blocks, pooled tokens tell all images apart (a share near 1) and lose some of it from
    block to block; a class token tells none apart (0) and gains. The beginning is 1 or 0, whichever
    the stem's share is nearer to. That share is noisy: by the draw of the weights it lies on either
    side of one half, and the score turns its order round (docs/blocks_effect.md). Our choice; kept
    to compare with.
    """
    return _effect(kernels, "plain") + _effect(kernels, "fourier")


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
    Proxy(
        "vintk",
        (Measurement("plain", "kernel"), costs.FLOPS),
        vintk,
        definition=2,  # 1 is blocks_effect
    ),
    Proxy.of_kernels("vintk_kernel", vintk_kernel, "plain"),
    Proxy.of_kernels(
        "blocks_effect", blocks_effect, "plain", "fourier", f"plain{STEM}", f"fourier{STEM}"
    ),
    Proxy.of_kernels("ntk_cond", ntk_cond, "plain"),
    Proxy.of_kernels("ntk_trace", ntk_trace, "plain"),
    Proxy.of_kernels("ntk_frobenius", ntk_frobenius, "plain"),
    Proxy.of_kernels("ntk_participation", ntk_participation, "plain"),
    Proxy.of_kernels("ntk_effective_rank", ntk_effective_rank, "plain"),
    Proxy.of_kernels("ntk_log_determinant", ntk_log_determinant, "plain"),
)
