"""How well kernels learn functions of the images of one frequency or another, against accuracies.

    python -m benchmarks.score_study.kernels --table benchmarks/results/cifar_table.json
    python -m benchmarks.score_study.learnability --table benchmarks/results/cifar_table.json \
        --measured runs/score_study/cifar_vit-photos-64x32 --rows first

A form is minus the logarithm of the left-out error (`ntk.ridge_regression`): of random Fourier
features of whole images, or of the parts of a grid of them; of one frequency sigma; by a ridge of
so many n^-2. "noise" has independent noise in the features' place. Printed is Kendall's tau, the
mean over seeds, beside the best counts; all forms go to benchmarks/results/.
"""

import argparse
from pathlib import Path

import numpy as np
from jaxtyping import Float

from benchmarks.score_study import tried
from benchmarks.score_study.forms import count_values
from vintk_jax.data import inputs
from vintk_jax.ntk.ridge_regression import features_gram, left_out_error
from vintk_jax.ranking import statistics, tables

GRIDS = (1, 2, 4, 8)
SIGMAS = (0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
RIDGES = (2.5, 5.0, 10.0, 20.0, 40.0)  # times n^-2
FEWER = (32, 48)  # images
WEIGHTS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
JOINED = ("flops", "params", "width^0.5 ratio^0")


def targets_of(images: Float[np.ndarray, "n size size 3"]) -> dict[str, np.ndarray]:
    """Inner products of the functions to learn, by name."""
    n, size = images.shape[:2]
    found = {"noise": np.eye(n)}
    for grid in GRIDS:
        side = size // grid
        starts = [(i, j) for i in range(0, size, side) for j in range(0, size, side)]
        parts = [images[:, i : i + side, j : j + side] for i, j in starts]
        for sigma in SIGMAS:
            name = f"grid {grid}, sigma {sigma:g}"
            found[name] = np.mean([features_gram(part, sigma) for part in parts], axis=0)
    return found


def values(
    kernels: Float[np.ndarray, "rows n n"], images: np.ndarray
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Every form of every architecture."""
    n = len(images)
    return {
        f"{name}, ridge {ridge:g}": np.array(
            [-np.log(left_out_error(kernel, targets, ridge / n**2)) for kernel in kernels]
        )
        for name, targets in targets_of(images).items()
        for ridge in RIDGES
    }


def of_noise(kernels: Float[np.ndarray, "rows n n"], count: int) -> dict[str, np.ndarray]:
    """The forms with noise on the first images."""
    first = kernels[:, :count, :count]
    errors = {
        ridge: [left_out_error(kernel, np.eye(count), ridge / count**2) for kernel in first]
        for ridge in RIDGES
    }
    return {
        f"noise, {count} images, ridge {ridge:g}": -np.log(found) for ridge, found in errors.items()
    }


def joined(
    forms: dict[str, np.ndarray], counts: dict[str, np.ndarray]
) -> dict[str, Float[np.ndarray, " rows"]]:
    """Each form times each weight, added to the logarithm of each count."""
    return {
        f"log {count} + {weight:g} ({name})": np.log(counts[count]) + weight * values
        for count in JOINED
        for name, values in forms.items()
        for weight in WEIGHTS
    }


def main() -> None:
    """Evaluate all forms on the rows asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True)
    parser.add_argument("--measured", type=Path, required=True, help="folder of kernels.py's files")
    parser.add_argument("--source", default="photos")
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--accuracy", default="cifar10")
    parser.add_argument("--rows", choices=tried.ROWS, default="first")
    parser.add_argument("--show", type=int, default=40)
    arguments = parser.parse_args()
    table = tables.load(arguments.table, 0, 0)
    accuracy = table.accuracies()[arguments.accuracy]
    keep = tried.kept_rows(table, accuracy, arguments.rows)
    results: dict[str, list[float]] = {}
    counts = {name: found[keep] for name, found in count_values(table).items()}
    for name, found in counts.items():
        results[f"count: {name}"] = [statistics.kendall_tau(found, accuracy[keep])]
    for path in sorted(arguments.measured.glob("*.npz")):
        view, _, seed = path.stem.rpartition("-")
        images = inputs.load(arguments.source, arguments.images, arguments.size, int(seed)).images
        kernels = np.load(path)["kernels"][keep]
        alone = values(kernels, images)
        noise = {}
        for count in (*FEWER, arguments.images):
            noise |= of_noise(kernels, count)
        for name, found in {**alone, **noise, **joined(noise, counts)}.items():
            tau = statistics.kendall_tau(found, accuracy[keep])
            results.setdefault(f"{view}: {name}", []).append(tau)
    tried.report("learnability", table, arguments.rows, results, arguments.show)


if __name__ == "__main__":
    main()
