"""What a network of these tangents would learn: ridge regression with the kernel, judged on images
that it hasn't seen.

The functions to learn are random Fourier features of the images themselves, so that no labels are
needed. Their frequency is a choice: low ones every network learns, high ones tell networks apart
(docs/theory.md). NumPy in float64, as in `reductions`.
"""

import numpy as np
from jaxtyping import Float

from vintk_jax.ntk.reductions import rounding


def features_gram(
    images: Float[np.ndarray, " n *image"], sigma: int | float
) -> Float[np.ndarray, "n n"]:
    """Inner products of infinitely many random Fourier features of whole images, in closed form:
    exp(-2 pi^2 sigma^2 d), d the mean over pixels and channels of the squared difference.

    With v an image over the square root of its number of values, this is the expectation of
    `fourier.features` (Rahimi and Recht 2007, theorem 1).

    Args:
        images: standardised.
        sigma: standard deviation of the frequencies, in cycles per standard deviation of a pixel.
            The higher, the faster the functions change; from 1 on they are noise.
    """
    flat = np.asarray(images, np.float64).reshape(len(images), -1)
    squares = (flat**2).mean(axis=1)
    distances = squares[:, None] + squares - 2 * flat @ flat.T / flat.shape[1]
    return np.exp(-2 * np.pi**2 * sigma**2 * np.maximum(distances, 0))


def left_out_error(
    kernel: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n n"], ridge: int | float
) -> float:
    """Mean square error of each image's targets predicted from all other images by ridge regression
    with an intercept, over the targets' variance: 0 is perfect, 1 is the mean of all, above 1 is
    worse than that.

    All left-out errors follow from one fit to all images, in closed form (Rasmussen and Williams
    2006, section 5.4.2; the intercept by Dubrule 1983).

    Args:
        kernel: not centred.
        targets: inner products of the images' targets, Y Y'.
        ridge: in mean eigenvalues of the centred kernel.

    Returns:
        NaN for a kernel or targets that are the same for all images.

    Raises:
        ValueError: for a ridge that isn't positive.
    """
    if ridge <= 0:
        raise ValueError(f"Expected a positive ridge, got {ridge}.")
    n = len(kernel)
    centre = np.eye(n) - 1 / n
    centred = centre @ np.asarray(kernel, np.float64) @ centre
    wanted = centre @ np.asarray(targets, np.float64) @ centre
    variance = np.trace(wanted) / n
    level = np.trace(centred) / n
    if level <= rounding(kernel) / n or variance <= 0:  # nothing tells the images apart
        return float("nan")
    # The constant is in the null space of the centred kernel; without it, it is the intercept's.
    residual = centre @ np.linalg.inv(centred / level + ridge * np.eye(n)) @ centre
    squares = np.einsum("ij,jk,ik->i", residual, wanted, residual) / np.diag(residual) ** 2
    return float(squares.mean() / variance)
