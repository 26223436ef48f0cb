"""What forms of a score are made of, measured once for every architecture of a table.

    python -m benchmarks.score_study.collect --table benchmarks/results/cifar_table.json --seeds 3

For each seed and view of the inputs: each layer's share of the kernel, and the spectra of both its
factors. Accuracies are not read. Kept a seed and view at a time, as npz files in the workdir; the
same command goes on.
"""

import argparse
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from benchmarks import common
from vintk_jax.data import inputs
from vintk_jax.ntk import fourier
from vintk_jax.ntk.layer_measures import KERNEL, Factors
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.supernet import KernelSettings, Supernet
from vintk_jax.ranking import tables

ROWS = 128
VIEWS = {
    "plain": None,
    "pixel": {"mode": "pixel", "num_features": 32, "sigma": 1.0},
    "coords": {"mode": "coords", "num_features": 32, "sigma": 3.0},
    "noise": {},
}


def spectra(x: Float[Array, "rows a"], d: Float[Array, "rows b"]) -> Float[Array, " size"]:
    """Eigenvalues of the Gram matrices of both factors, as they are and centred, on evenly spaced
    rows, each divided by its mean; then how many columns of each are not zero.
    """
    places = np.round(np.linspace(0, len(x) - 1, ROWS)).astype(int)
    found = []
    for factor in (x[places], d[places]):
        for centred in (factor, factor - factor.mean(axis=0)):
            gram = centred @ centred.T
            gram = gram / jnp.maximum(jnp.trace(gram) / ROWS, 1e-30)
            found.append(jnp.linalg.eigvalsh(gram))
    live = [jnp.sum(jnp.any(factor != 0, axis=0))[None] for factor in (x, d)]
    return jnp.concatenate([*found, *live])


SPECTRA = Factors(spectra, 4 * ROWS + 2)


def view_of(name: str, images: np.ndarray, seed: int) -> np.ndarray:
    """The images in one view."""
    if VIEWS[name] is None:
        return images
    key = jax.random.key(seed)
    if name == "noise":
        more = np.asarray(jax.random.normal(key, (*images.shape[:-1], 32)))
        return np.concatenate([images, more], axis=-1)
    return np.asarray(fourier.fourier_images(jnp.asarray(images), key, **VIEWS[name]))


def main() -> None:
    """Measure what isn't there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", required=True)
    parser.add_argument("--source", default="photos")
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--size", type=int, default=32)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--views", default="plain,pixel,coords")
    parser.add_argument("--sample", type=int, default=0, help="of the table's rows; 0: all")
    parser.add_argument("--workdir", type=Path, default=Path("runs/score_study"))
    arguments = parser.parse_args()
    table = tables.load(arguments.table, arguments.sample, 0)
    folder = arguments.workdir / f"{table.name}-{arguments.source.replace('/', '_')}"
    folder.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        for view in arguments.views.split(","):
            path = folder / f"{view}-{seed}.npz"
            if path.exists():
                continue
            start = time.perf_counter()
            images = inputs.load(arguments.source, arguments.images, arguments.size, seed).images
            batch = view_of(view, images, seed)
            settings = KernelSettings(num_classes=arguments.classes)
            supernet = Supernet(table.space, {view: batch}, settings, seed=seed)
            measurements = [
                Measurement("kernel", "layers", KERNEL, view),
                Measurement("spectra", "layers", SPECTRA, view),
            ]
            scorer = Scorer(supernet, measurements)
            found = []
            for i in range(0, len(table.archs), scorer.batch_size):
                part = table.archs[i : i + scorer.batch_size]
                found += [of_arch[0] for of_arch in scorer.measure(part)]
            kept = {
                f"{name}:{layer}": np.stack([one[name][layer] for one in found])
                for name in ("kernel", "spectra")
                for layer in found[0][name]
            }
            np.savez(path, rows=np.asarray(table.rows), **kept)
            print(f"{path}: {time.perf_counter() - start:.0f} s", flush=True)
    print(common.machine()["time"])


if __name__ == "__main__":
    main()
