"""The contestants in JAX: our kernel, our plain forward and backward pass, neural-tangents.

As a program, `python -m benchmarks.jax_kernels REQUEST` runs one of them once in a fresh process
and prints its peak memory.
"""

import json
import sys
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.cases import NUM_CLASSES, Case, data
from benchmarks.common import peak_resident_bytes
from vintk_jax import ntk, spaces
from vintk_jax.jax_settings import avoid_wrong_fusions
from vintk_jax.ntk import memory

OURS = "ours"
FLOOR = "ours, forward + backward only"
NEURAL_TANGENTS = {
    "neural-tangents, Jacobians": "neural_tangents",
    "neural-tangents, NTK-vector products": "neural_tangents_ntvp",
}
CONTESTANTS = (OURS, FLOOR, *NEURAL_TANGENTS)


class Ready(NamedTuple):
    """A compiled contestant: `run()` waits for its result; `needs` is the peak of its buffers in
    bytes.
    """

    run: Callable[[], Any]
    compile_s: float
    needs: int


def unstack(variables: dict) -> dict:
    """The variables of the unrolled model from those of the scanned one."""
    tree = dict(variables["params"])
    stacked = tree.pop("blocks")["block"]
    depth = len(jax.tree.leaves(stacked)[0])
    for i in range(depth):
        tree[f"block_{i}"] = jax.tree.map(itemgetter(i), stacked)
    return {"params": tree}


def variables_of(
    space: spaces.SearchSpace, image_size: int, channels: int = 3, classes: int = NUM_CLASSES
) -> dict:
    """The scanned supernet's parameters."""
    images = jnp.zeros((1, image_size, image_size, channels))
    return jax.jit(space.supernet(image_size, classes).init)(jax.random.key(0), images)


def prepare(
    contestant: str,
    space: spaces.SearchSpace,
    variables: dict,
    images: np.ndarray,
    direction: np.ndarray,
    precision: str = "highest",
) -> Ready:
    """Compile one contestant on the space's unmasked supernet.

    Ours is scanned over blocks. neural-tangents gets the unrolled model, which it is faster on (it
    copies stacked parameters).
    """
    scan = contestant not in NEURAL_TANGENTS
    model = space.supernet(images.shape[1], direction.shape[0], scan=scan)
    variables = variables if scan else unstack(variables)
    images = jnp.asarray(images)
    direction = jnp.asarray(direction)

    def run(variables: dict, images: jax.Array) -> Any:

        def along_direction(variables: dict) -> jax.Array:
            return (model.apply(variables, images) @ direction).sum()

        if contestant == FLOOR:
            return jax.grad(along_direction)(variables)
        implementation = NEURAL_TANGENTS.get(contestant, "structured")
        return ntk.kernel(
            model,
            variables,
            images,
            cotangent=direction[:, None],
            implementation=implementation,
            precision=precision,
        )

    start = time.perf_counter()
    compiled = jax.jit(run).lower(variables, images).compile()
    seconds = time.perf_counter() - start

    def run_once() -> Any:
        return jax.block_until_ready(compiled(variables, images))

    return Ready(run_once, seconds, memory.peak_bytes(compiled))


def main(request: dict[str, Any]) -> None:
    """Build the case's model and data, run the contestant once if one is named, print the peak
    memory.
    """
    avoid_wrong_fusions()
    case = Case(*request["case"])
    space = spaces.get(case.space)
    variables = jax.block_until_ready(variables_of(space, case.image_size))
    images, direction = data(case.images, case.image_size)
    if request["contestant"]:
        prepare(request["contestant"], space, variables, images, direction).run()
    print(json.dumps({"peak_bytes": peak_resident_bytes()}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
