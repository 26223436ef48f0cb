"""Kernels of a table's architectures on many views of the same photographs, kept for
`benchmarks.vintk_study.forms` to choose from.

    # one random direction, all views of the plan
    python -m benchmarks.vintk_study.collect TABLE.json OUT.npz --group views
    # four directions, few views
    python -m benchmarks.vintk_study.collect TABLE.json OUT.npz --group cotangents4
    python -m benchmarks.vintk_study.collect TABLE.json OUT.npz --group cotangents_sum
    # 96 px, few views
    python -m benchmarks.vintk_study.collect TABLE.json OUT.npz --group tokens

Accuracies are not read here. OUT holds `rows`, and for each view an array (rows, seeds, n, n); it
is written every few minutes, and a run that was cut off goes on.
"""

import argparse
import os
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from vintk_jax.data import inputs
from vintk_jax.jax_settings import set_up_jax
from vintk_jax.ntk import fourier
from vintk_jax.proxies.base import Measurement
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.supernet import KernelSettings, Supernet
from vintk_jax.ranking import tables

FEW = ("plain", "pixel s1 m32", "coords s3 m32")
COORDS = ("coords s1 m32", "coords s10 m32", "coords s3 m8")
BEST = ("plain", "coords s3 m32")
GROUPS = {
    "views": {"cotangent": "random"},
    "cotangents4": {"cotangent": "random", "num_directions": 4, "views": FEW},
    "cotangents_sum": {"cotangent": "sum", "views": BEST},
    "tokens": {"cotangent": "random", "size": 96, "views": BEST},
    "coords": {"cotangent": "random", "views": COORDS},
    "best": {"cotangent": "random", "views": BEST},
}


# Views: mode, number of features and sigma of Fourier features.
FEATURES = {
    "pixel s0.3 m32": ("pixel", 32, 0.3),
    "pixel s1 m16": ("pixel", 16, 1.0),
    "pixel s1 m32": ("pixel", 32, 1.0),
    "pixel s1 m64": ("pixel", 64, 1.0),
    "pixel s3 m32": ("pixel", 32, 3.0),
    "patch s0.03 m768": ("patch", 768, 0.03),
    "patch s0.3 m768": ("patch", 768, 0.3),
    "coords s1 m32": ("coords", 32, 1.0),
    "coords s3 m32": ("coords", 32, 3.0),
    "coords s10 m32": ("coords", 32, 10.0),
    "coords s3 m8": ("coords", 8, 3.0),
}
# Controls: channels and seed.
NOISE = {"noise m3": (3, 1), "noise m32": (32, 2)}


def make_views(images, only=None, seed: int = 0) -> dict[str, np.ndarray]:
    """The plan's views by name, standardised as the photographs are; controls begin with
    "noise".
    """
    key = jax.random.key(seed)

    def make(name: str) -> np.ndarray:
        if name == "plain":
            return images
        if name in NOISE:
            channels, noise_seed = NOISE[name]
            rng = np.random.default_rng(noise_seed)
            return rng.standard_normal((*images.shape[:3], channels)).astype(np.float32)
        mode, num_features, sigma = FEATURES[name]
        return np.asarray(
            fourier.fourier_images(
                jnp.asarray(images), key, mode=mode, num_features=num_features, sigma=sigma
            )
        )

    names = ("plain", *FEATURES, *NOISE)
    return {name: make(name) for name in names if only is None or name in only}


def main() -> None:
    """Score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("table")
    parser.add_argument("out", type=Path)
    parser.add_argument("--group", choices=GROUPS, default="views")
    parser.add_argument(
        "--architectures", type=int, default=0, help="a sample of the table's rows; 0 takes all"
    )
    parser.add_argument("--seed", type=int, default=0, help="of images, weights and directions")
    parser.add_argument("--images", type=int, default=16)
    args = parser.parse_args()
    set_up_jax("float32")
    settings = dict(GROUPS[args.group])
    size = settings.pop("size", 64)
    only = settings.pop("views", None)
    table = tables.load(args.table, args.architectures, 0)
    images = inputs.load("photos", args.images, size, args.seed).images
    batches = make_views(images, only, args.seed)
    supernet = Supernet(table.space, batches, KernelSettings(**settings), seed=args.seed)
    scorer = Scorer(supernet, [Measurement(name, "kernel") for name in batches])
    print(
        f"{table.name}: {len(table.rows)} architectures, {len(batches)} views; compiling",
        flush=True,
    )
    scorer.compile()
    found = {
        name: np.zeros((len(table.rows), 1, len(images), len(images)), np.float32)
        for name in batches
    }
    done = 0
    if args.out.exists():
        with np.load(args.out) as before:
            done = int(before["done"])
            for name in found:
                found[name][:done] = before[name][:done]
    start = time.perf_counter()
    saved = time.perf_counter()
    first = done
    while done < len(table.rows):
        archs = table.archs[done : done + scorer.batch_size]
        for i, of_seeds in enumerate(scorer.measure(archs)):
            for s, kernels in enumerate(of_seeds):
                for name, kernel in kernels.items():
                    found[name][done + i, s] = kernel
        done += len(archs)
        if time.perf_counter() - saved > 60 or done == len(table.rows):
            saved = time.perf_counter()
            part = args.out.with_suffix(".part.npz")
            np.savez(part, rows=np.array(table.rows), done=done, **found)
            os.replace(part, args.out)
            each = (saved - start) / (done - first)
            print(
                f"  {done}/{len(table.rows)}, {each:.2f} s each, "
                f"{(len(table.rows) - done) * each / 60:.1f} min left",
                flush=True,
            )


if __name__ == "__main__":
    main()
