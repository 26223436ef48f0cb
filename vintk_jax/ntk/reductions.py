"""From a kernel to a number. NumPy in float64: kernels are small, and float32 rounding must not
reach the small eigenvalues twice.

Eigenvalues below `rounding(kernel)` can't be told from zero in the precision the kernel was
computed in; where a quantity divides by or takes logarithms of eigenvalues they are raised to that
floor, so that a rank-deficient kernel gives a large number, not an infinite one.
"""

import numpy as np
from jaxtyping import Float


def rounding(kernel: Float[np.ndarray, "n n"]) -> float:
    """What float32 can resolve: n eps times the largest diagonal entry."""
    return len(kernel) * float(np.finfo(np.float32).eps) * float(np.max(np.abs(np.diag(kernel))))


def spectrum(kernel: Float[np.ndarray, "n n"]) -> Float[np.ndarray, " n"]:
    """Eigenvalues, largest first."""
    return np.linalg.eigvalsh(np.asarray(kernel, np.float64))[::-1]


def _floored(kernel):
    return np.maximum(spectrum(kernel), max(rounding(kernel), np.finfo(np.float64).tiny))


def largest_eigenvalue(kernel: Float[np.ndarray, "n n"]) -> float:
    """lambda_1."""
    return float(spectrum(kernel)[0])


def smallest_eigenvalue(kernel: Float[np.ndarray, "n n"]) -> float:
    """lambda_n."""
    return float(spectrum(kernel)[-1])


def condition_number(kernel: Float[np.ndarray, "n n"]) -> float:
    """lambda_1 / lambda_n, TE-NAS's trainability (arXiv 2102.11535, equation 3); smaller is better
    there.
    """
    values = _floored(kernel)
    return float(values[0] / values[-1])


def trace(kernel: Float[np.ndarray, "n n"]) -> float:
    """Sum of the diagonal: the squared norms of the per-sample gradients."""
    return float(np.trace(np.asarray(kernel, np.float64)))


def frobenius_norm(kernel: Float[np.ndarray, "n n"]) -> float:
    """Square root of the summed squares, as in KNAS (Xu et al. 2021, arXiv 2104.09748)."""
    return float(np.linalg.norm(np.asarray(kernel, np.float64)))


def log_determinant(kernel: Float[np.ndarray, "n n"]) -> float:
    """Sum of the logarithms of the eigenvalues."""
    return float(np.sum(np.log(_floored(kernel))))


def effective_rank(kernel: Float[np.ndarray, "n n"]) -> float:
    """exp of the entropy of the normalised spectrum (Roy and Vetterli 2007); between 1 and n."""
    p = _floored(kernel)
    p = p / p.sum()
    return float(np.exp(-np.sum(p * np.log(p))))


def log_participation_ratio(kernel: Float[np.ndarray, "n n"]) -> float:
    """log(trace^2 / Frobenius^2): the logarithm of how many eigenvalues share the trace; free of
    scale, between 0 and log n.
    """
    return float(2 * np.log(trace(kernel)) - 2 * np.log(frobenius_norm(kernel)))


def distinct_share(kernel: Float[np.ndarray, "n n"]) -> float:
    """tr(HKH) / tr(K), H centring: which share of the gradients' power tells the samples apart; the
    rest is common to all of them.

    Between 0 (all gradients alike) and 1 (they cancel in the mean; 1 - 1/n for orthogonal ones of
    equal length); free of scale. Our choice.
    """
    k = np.asarray(kernel, np.float64)
    return float(1 - k.sum() / (len(k) * np.trace(k)))


def target_alignment(kernel: Float[np.ndarray, "n n"], targets: Float[np.ndarray, "n k"]) -> float:
    """Kernel-target alignment <K, Y Y'> / (|K| |Y Y'|) (Cristianini et al. 2001), both centred
    (Cortes et al. 2012).
    """
    centre = np.eye(len(kernel)) - 1 / len(kernel)
    k = centre @ np.asarray(kernel, np.float64) @ centre
    y = centre @ np.asarray(targets, np.float64)
    ideal = y @ y.T
    return float(np.sum(k * ideal) / (np.linalg.norm(k) * np.linalg.norm(ideal)))
