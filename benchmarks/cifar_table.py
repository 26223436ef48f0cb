"""A table of our own: small vision transformers of the space `cifar-vit`, all trained alike on
CIFAR-10.

    python -m benchmarks.cifar_table --data ../shared/data/cifar10

Trains 60 architectures on 20,000 images, 12 of them twice with other seeds, and tests them on
13,000: the 3,000 of the test file and 10,000 that none was trained on. Published tables of vision
transformers follow size; here half of the architectures have one cost in multiply-adds, to a tenth,
and all have 0.03 to 0.5 million parameters. Which architectures, and every choice of the training,
was fixed before the first one was trained (docs/score_protocol.md).

A core trains a model at a time. What is trained is kept in benchmarks/results/cifar_trainings.json,
a model at a time, and the same command goes on; at the end it writes the table that
`python -m vintk_jax.rank` takes, benchmarks/results/cifar_table.json.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.trainings import Kept
from vintk_jax import spaces

SPACE = "cifar-vit"
COUNT = 60
TWICE = 12
PARAMS_M = (0.03, 0.5)
COMMON_M = (7.2, 8.8)  # multiply-adds of the first half of the architectures, in millions
FREE_M = (2.0, 16.0)  # and of the others
# Patch sizes in turn. With patches of 2 pixels nothing in the space is as cheap as the first half.
COMMON_PATCHES = (4, 8)
FREE_PATCHES = (2, 4, 8)
# images
TRAIN = 20_000
HELD_OUT = 10_000
RECIPE = {
    "epochs": 5,
    "batch": 64,
    # Images at a time, by patch size: what stays in a core's cache. It changes rounding alone.
    "piece": {"2": 4, "4": 16, "8": 16},
    "learning_rate": 2e-3,  # the peak, after a tenth of the steps; then down to 0 by a cosine
    "weight_decay": 0.05,
    "clip": 1.0,
    "label_smoothing": 0.1,
    "shift": 4,  # pixels that an image may be moved by
}


def architectures() -> list[Any]:
    """The table's architectures, drawn with seed 0: in turn one of the common cost and one of any.

    So the first rows, which are trained twice, are like the rest.
    """
    space = spaces.get(SPACE)
    rng = np.random.default_rng(0)
    found: list[Any] = []
    while len(found) < COUNT:
        turn, free = divmod(len(found), 2)
        patches = FREE_PATCHES if free else COMMON_PATCHES
        least, most = FREE_M if free else COMMON_M
        arch = space.sample(rng)
        params, flops = space.cost(arch)
        fits = PARAMS_M[0] <= params / 1e6 <= PARAMS_M[1] and least <= flops / 1e6 <= most
        if fits and arch.patch_size == patches[turn % len(patches)] and arch not in found:
            found.append(arch)
    return found


def load(folder: Path) -> tuple[np.ndarray, ...]:
    """Images and labels to train on, then those to test on; uint8 and int32."""
    first = np.load(folder / "cifar10_subset.npz")
    rest = np.load(folder / "cifar10_rest.npz")
    names = sorted(first.files)
    train = [first["x_train"][:TRAIN], first["y_train"][:TRAIN]]
    # The files are stored class by class.
    every = len(rest["x_train"]) // HELD_OUT
    held_out = [rest["x_train"][::every], rest["y_train"][::every]]
    if len(train[0]) != TRAIN or len(held_out[0]) != HELD_OUT:
        raise SystemExit(f"Expected {TRAIN} and {HELD_OUT} images in {folder}, found {names}.")
    images = np.concatenate([first["x_test"], held_out[0]])
    labels = np.concatenate([first["y_test"], held_out[1]])
    return train[0], train[1].astype(np.int32), images, labels.astype(np.int32)


def train(
    arch_json: dict[str, Any], seed: int, folder: Path, epochs: int = RECIPE["epochs"]
) -> dict[str, float]:
    """Train one model on the core that this process has; its accuracy in percent, and seconds."""
    import jax
    import jax.numpy as jnp
    import optax

    space = spaces.get(SPACE)
    model = space.model(space.from_json(arch_json), 32, num_classes=10)
    images, labels, test_images, test_labels = load(folder)
    mean = images.mean((0, 1, 2)).astype(np.float32)
    deviation = images.std((0, 1, 2)).astype(np.float32)
    piece = RECIPE["piece"][str(arch_json["patch_size"])]
    total = TRAIN // RECIPE["batch"] * epochs
    peak = RECIPE["learning_rate"]
    rate = optax.warmup_cosine_decay_schedule(0.0, peak, total // 10, total)
    optimizer = optax.chain(
        optax.clip_by_global_norm(RECIPE["clip"]),
        optax.adamw(rate, weight_decay=RECIPE["weight_decay"]),
    )

    def standardised(raw):
        return (raw.astype(jnp.float32) - mean) / deviation

    def right(params, x, y):
        return jnp.sum(jnp.argmax(model.apply(params, standardised(x)), -1) == y)

    start = time.perf_counter()
    all_images = jnp.asarray(images)
    all_labels = jnp.asarray(labels)
    key = jax.random.key(seed)
    params = jax.jit(model.init)(key, jnp.zeros((1, 32, 32, 3)))
    state = (params, jax.jit(optimizer.init)(params))
    epoch = _make_epoch(model, optimizer, standardised, all_images, all_labels, piece)
    run = jax.jit(epoch, donate_argnums=0)
    for i in range(epochs):
        state, mean_loss = run(state, jax.random.fold_in(key, i))
        seconds = time.perf_counter() - start
        print(f"epoch {i + 1}: loss {mean_loss:.3f}, {seconds:.0f} s", file=sys.stderr, flush=True)
    count = jax.jit(right)
    parts = range(0, len(test_images), 50)
    found = 0
    for start_at in parts:
        part = slice(start_at, start_at + 50)
        found += int(count(state[0], test_images[part], test_labels[part]))
    return {
        "accuracy": round(100 * found / len(test_images), 3),
        "train_loss": round(float(mean_loss), 4),
        "seconds": round(time.perf_counter() - start, 1),
    }


def _moved(key, raw):
    """Images moved by some pixels, every second one mirrored."""
    import jax
    import jax.numpy as jnp

    shift = RECIPE["shift"]
    to_side, to_flip = jax.random.split(key)
    offsets = jax.random.randint(to_side, (len(raw), 2), 0, 2 * shift + 1)
    flips = jax.random.bernoulli(to_flip, 0.5, (len(raw),))
    around = jnp.pad(raw, ((0, 0), (shift, shift), (shift, shift), (0, 0)))

    def one(image, offset, flip):
        cut = jax.lax.dynamic_slice(image, (offset[0], offset[1], 0), (32, 32, 3))
        return jnp.where(flip, cut[:, ::-1], cut)

    return jax.vmap(one)(around, offsets, flips)


def _make_epoch(model, optimizer, standardised, all_images, all_labels, piece: int):
    """A function of (parameters and moments, key): an epoch; the new ones and the mean loss.

    Args:
        piece: images that a gradient is computed of at once.
    """
    import jax
    import jax.numpy as jnp
    import optax

    batch = RECIPE["batch"]
    steps = TRAIN // batch

    def loss(params, x, y):
        logits = model.apply(params, x)
        targets = optax.smooth_labels(jax.nn.one_hot(y, 10), RECIPE["label_smoothing"])
        return optax.softmax_cross_entropy(logits, targets).mean()

    def step(state, drawn):
        params, moments = state
        key, places = drawn
        x = standardised(_moved(key, all_images[places]))
        in_pieces = (x.reshape(-1, piece, 32, 32, 3), all_labels[places].reshape(-1, piece))
        zero = jax.tree.map(jnp.zeros_like, params)

        def add(sums, of_piece):
            value, gradient = jax.value_and_grad(loss)(params, *of_piece)
            return jax.tree.map(jnp.add, sums, gradient), value

        gradient, losses = jax.lax.scan(add, zero, in_pieces)
        gradient = jax.tree.map(lambda leaf: leaf * (piece / batch), gradient)
        updates, moments = optimizer.update(gradient, moments, params)
        return (optax.apply_updates(params, updates), moments), losses.mean()

    def epoch(state, key):
        to_order, to_move = jax.random.split(key)
        order = jax.random.permutation(to_order, TRAIN)[: steps * batch].reshape(steps, batch)
        state, losses = jax.lax.scan(step, state, (jax.random.split(to_move, steps), order))
        return state, losses.mean()

    return epoch


def in_child(module: str, arguments: list[str], cores: list[int]) -> dict[str, float]:
    """A benchmark's training of one model, in a process of its own and on a core of its own."""
    core = cores.pop()
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-m", module, *arguments, "--core", str(core)]
    try:
        done = subprocess.run(
            command, cwd=common.ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=True
        )
    finally:
        cores.append(core)
    return json.loads(done.stdout.strip().splitlines()[-1])


def write_table(kept: Kept, archs: list[Any]) -> Path:
    """The table of what is trained: the mean over an architecture's seeds is not taken, its first
    seed counts, so that all are measured alike.
    """
    space = spaces.get(SPACE)
    rows = []
    for i, arch in enumerate(archs):
        if f"{i} seed 0" not in kept.found:
            continue
        again = kept.found.get(f"{i} seed 1")
        accuracy = {"cifar10": kept.found[f"{i} seed 0"]["accuracy"]}
        accuracy["cifar10_again"] = again["accuracy"] if again else None
        cost = space.cost(arch)
        row = {"arch": space.to_json(arch), "accuracy": accuracy}
        rows.append(row | {"params_m": cost.params / 1e6, "flops_m": cost.flops / 1e6})
    path = common.RESULTS / "cifar_table.json"
    note = (
        f"top-1 in percent on 13,000 images after {RECIPE['epochs']} epochs on {TRAIN:,} of "
        "CIFAR-10, seed 0; cifar10_again: 12 of them with seed 1; benchmarks/cifar_table.py"
    )
    common.write_json(path, {"table": "cifar_vit", "space": SPACE, "note": note, "rows": rows})
    return path


def main() -> None:
    """Train what isn't trained; write the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="folder of the two npz files")
    parser.add_argument("--one", type=int, nargs=2, metavar=("INDEX", "SEED"))
    parser.add_argument("--core", type=int, help="the core that --one runs on")
    arguments = parser.parse_args()
    archs = architectures()
    space = spaces.get(SPACE)
    if arguments.one:
        if arguments.core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, {arguments.core})
        index, seed = arguments.one
        print(json.dumps(train(space.to_json(archs[index]), seed, arguments.data)))
        return
    of = {"recipe": RECIPE, "train": TRAIN, "archs": [space.to_json(arch) for arch in archs]}
    kept = Kept(common.RESULTS / "cifar_trainings.json", of)
    # The half that forms are chosen on comes first.
    half = np.random.default_rng(0).permutation(COUNT).tolist()
    wanted = [(i, 0) for i in half] + [(i, 1) for i in range(TWICE)]
    left = [(i, seed) for i, seed in wanted if f"{i} seed {seed}" not in kept.found]
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [0]
    lock = threading.Lock()

    def work(one: tuple[int, int]) -> None:
        index, seed = one
        one = ["--data", str(arguments.data.resolve()), "--one", str(index), str(seed)]
        found = in_child("benchmarks.cifar_table", one, cores)
        with lock:
            kept.add(f"{index} seed {seed}", found)
            done = len(wanted) - len(left) + sum(f"{i} seed {s}" in kept.found for i, s in left)
            print(f"{done} of {len(wanted)}: {index} seed {seed}: {found}", flush=True)

    with ThreadPoolExecutor(len(cores)) as pool:
        list(pool.map(work, left))
    path = write_table(kept, archs)
    firsts = [kept.found[f"{i} seed 0"]["accuracy"] for i in range(COUNT)]
    pairs = [(kept.found[f"{i} seed 0"], kept.found[f"{i} seed 1"]) for i in range(TWICE)]
    apart = np.array([a["accuracy"] - b["accuracy"] for a, b in pairs])
    print(
        f"Accuracy {min(firsts):.2f} to {max(firsts):.2f}%, deviation {np.std(firsts):.2f} points; "
        f"between two seeds of one architecture {np.sqrt(np.mean(apart**2) / 2):.2f} points."
    )
    print(
        "Next: python -m vintk_jax.rank --config configs/rank.py "
        f"--config.table={path} --config.inputs.image_size=32"
    )


if __name__ == "__main__":
    main()
