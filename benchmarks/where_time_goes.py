"""Where the time of a compiled program goes, by kind of operation: of the kernel, or of a plain
forward and backward pass of the same model.

    python -m benchmarks.where_time_goes --space autoformer-tiny --image-size 224 --images 16
    python -m benchmarks.where_time_goes --plain

Runs under JAX's own profiler and adds up its events by the operation of the compiled program that
each is of. Operations that run side by side each count in full, so the sum may be above the time of
a run. Programs of XLA's CPU backend; a GPU's events have other names.
"""

import argparse
import re
import statistics
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import common
from benchmarks.cases import Case, counted_macs, data
from vintk_jax.jax_settings import avoid_wrong_fusions

_RUNS = 3
_OPERATION = re.compile(r"\s*(?:ROOT )?%?([\w.\-]+) = (?:\(.*?\)|\S+) ([\w\-]+)\(")
_SOURCE = re.compile(r'op_name="([^"]*)"')
_OUTER = ("while", "conditional", "call")  # what they hold is counted by itself


def kinds(program: str) -> dict[str, str]:
    """The kind of each operation of a compiled program's text: a matrix product or another, of the
    forward pass or the backward one, and the model's layer that it comes from.

    Args:
        program: as `compiled.as_text()` gives it.
    """
    found = {}
    for line in program.splitlines():
        operation = _OPERATION.match(line)
        if not operation or operation[2] in _OUTER:
            continue
        source = _SOURCE.search(line)
        source = source[1] if source else ""
        product = operation[2] == "dot" or operation[1].startswith("ynn")
        way = "backward" if "transpose(" in source else "forward"
        layer = "/".join(source.split("/")[-2:]) or operation[2]
        found[operation[1]] = f"{'product' if product else 'other'}, {way}: {layer}"
    return found


def by_kind(run: Any, program: str) -> Counter:
    """Seconds a run by kind.

    Args:
        run: runs the program once and waits for it.
        program: its text.
    """
    import jax
    from jax.profiler import ProfileData

    kind_of = kinds(program)
    seconds: Counter = Counter()
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder):
            for _ in range(_RUNS):
                run()
        (file,) = Path(folder).rglob("*.xplane.pb")
        for plane in ProfileData.from_file(str(file)).planes:
            for line in plane.lines:
                for event in line.events:
                    if event.name in kind_of:
                        seconds[kind_of[event.name]] += event.duration_ns / 1e9 / _RUNS
    return seconds


def program_of(case: Case, plain: bool) -> tuple[Any, str]:
    """A compiled kernel, or plain passes, ready to run; and its text."""
    import jax
    import jax.numpy as jnp

    from benchmarks.jax_kernels import variables_of
    from vintk_jax import ntk, spaces

    space = spaces.get(case.space)
    variables = variables_of(space, case.image_size)
    images, direction = map(jnp.asarray, data(case.images, case.image_size))
    model = space.supernet(case.image_size, len(direction), scan=True)

    def along(variables: dict, images: jax.Array) -> jax.Array:
        return (model.apply(variables, images) @ direction).sum()

    def work(variables: dict, images: jax.Array) -> Any:
        if plain:
            return jax.grad(along)(variables, images)
        return ntk.kernel(model, variables, images, cotangent=direction[:, None])

    compiled = jax.jit(work).lower(variables, images).compile()

    def run() -> Any:
        return jax.block_until_ready(compiled(variables, images))

    return run, compiled.as_text()


def main(arguments: argparse.Namespace) -> None:
    """Print the table."""
    avoid_wrong_fusions()
    case = Case(arguments.space, arguments.image_size, arguments.images)
    run, program = program_of(case, arguments.plain)
    run()
    product = common.matrix_product()
    product()
    taken = common.alternate({"run": run, "product": product}, 5)
    rate = common.gflops(statistics.median(one.wall_s for one in taken["product"].runs))
    ideal = 2 * sum(counted_macs(case).values()) / rate / 1e9
    seconds = by_kind(run, program)
    total = sum(seconds.values())
    products = sum(value for kind, value in seconds.items() if kind.startswith("product"))
    print(
        f"{case}: {taken['run'].median_s:.3f} s a run; the kernel's counted operations take "
        f"{ideal:.3f} s at the product's {rate:.0f} GFLOP/s. Operations add up to {total:.3f} s, "
        f"of which products {products:.3f} s."
    )
    for kind, value in seconds.most_common(arguments.rows):
        print(f"{1e3 * value:9.2f} ms {100 * value / total:5.1f}%  {kind}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--space", default="autoformer-tiny")
    parser.add_argument("--image-size", type=int, default=64)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--plain", action="store_true", help="forward and backward, no kernel")
    parser.add_argument("--rows", type=int, default=30)
    main(parser.parse_args())
