"""What the kernel at initialisation knows of an architecture's accuracy when it is told the labels.

    python -m benchmarks.score_study.labelled --data ../shared/data/cifar10

Forms of a score see no labels. This one does: it predicts each of 100 images of CIFAR-10 from the
99 others by ridge regression with the kernel, which is what a network of these tangents would
learn. If that doesn't order the architectures of `cifar_vit`, no form of the same kernel can be
expected to. Printed is Kendall's tau with the trained accuracy, on the half of the table that forms
are chosen on. What is measured is kept, an architecture at a time, and the same command goes on.
"""

import argparse
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Int

from benchmarks import cifar_table, common
from benchmarks.score_study.tried import HALF
from benchmarks.trainings import Kept
from vintk_jax import ntk, spaces
from vintk_jax.ntk.ridge_regression import left_out_error
from vintk_jax.ranking import statistics

CLASSES = 10
OF_CLASS = 10
DIRECTIONS = 2
RIDGES = (1.0, 0.1, 0.01, 0.001)  # times the centred kernel's mean eigenvalue


def images_of(folder: Path, seed: int) -> tuple[np.ndarray, Int[np.ndarray, " n"]]:
    """Standardised training images of the table, as many of each class, and their labels."""
    images, labels, _, _ = cifar_table.load(folder)
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(labels == one) for one in range(CLASSES)]
    places = np.concatenate([rng.choice(one, OF_CLASS, replace=False) for one in of_class])
    mean = images.mean((0, 1, 2))
    deviation = images.std((0, 1, 2))
    return np.float32((images[places] - mean) / deviation), labels[places]


def measured(place: int, folder: Path, seed: int) -> dict[str, float]:
    """Minus the left-out square error by ridge; higher is better."""
    space = spaces.get(cifar_table.SPACE)
    arch = cifar_table.architectures()[place]
    images, labels = images_of(folder, seed)
    model = space.model(arch, 32, num_classes=CLASSES)
    key = jax.random.key(seed)
    variables = jax.jit(model.init)(key, images[:1])

    @jax.jit
    def kernel(variables, images):
        return ntk.kernel(
            model,
            variables,
            images,
            cotangent="random",
            key=jax.random.fold_in(key, 1),
            num_directions=DIRECTIONS,
        )

    found = np.asarray(kernel(variables, jnp.asarray(images)))
    same_class = np.float64(labels[:, None] == labels)
    return {f"ridge {ridge:g}": -left_out_error(found, same_class, ridge) for ridge in RIDGES}


def main() -> None:
    """Measure what isn't there yet; print tau."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the two npz files")
    parser.add_argument("--seeds", type=int, default=2)
    arguments = parser.parse_args()
    kept = Kept(common.RESULTS / "score_labelled.json", {"per class": OF_CLASS})
    trained = json.loads((common.RESULTS / "cifar_trainings.json").read_text())["found"]
    places = [int(i) for i in HALF if f"{i} seed 0" in trained]
    accuracy = np.array([trained[f"{i} seed 0"]["accuracy"] for i in places])
    taus: dict[str, list[float]] = {}
    for seed in range(arguments.seeds):
        for i in places:
            if f"{i} seed {seed}" not in kept.found:
                kept.add(f"{i} seed {seed}", measured(i, arguments.data, seed))
        found = [kept.found[f"{i} seed {seed}"] for i in places]
        for name in found[0]:
            values = np.array([one[name] for one in found])
            taus.setdefault(name, []).append(statistics.kendall_tau(values, accuracy))
    rows = [[name, *(f"{tau:.2f}" for tau in of)] for name, of in taus.items()]
    heads = [f"seed {seed}" for seed in range(arguments.seeds)]
    common.print_table(f"tau on {len(places)} rows of cifar_vit", ["with labels", *heads], rows)


if __name__ == "__main__":
    main()
