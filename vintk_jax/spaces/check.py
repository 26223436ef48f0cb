"""Check a search space: `python -m vintk_jax.spaces.check my_space:SPACE`.

Every promise of a space (`conformance`, `supernet_conformance`) is tried out on random
architectures; nothing is trained.
"""

import argparse
import dataclasses
import inspect
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from vintk_jax import spaces
from vintk_jax.command_line import run
from vintk_jax.errors import UserError
from vintk_jax.jax_settings import avoid_wrong_fusions
from vintk_jax.spaces import conformance, supernet_conformance


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check: what is promised, what is wrong (None: nothing), and its time."""

    promise: str
    fault: str | None
    seconds: float


def check(
    space: spaces.SearchSpace,
    image_size: int = 64,
    num_samples: int = 200,
    num_members: int = 2,
    flops: bool = True,
    seed: int = 0,
) -> Iterator[Finding]:
    """Every check, one after another; those that draw weights on `num_members` architectures, the
    others on `num_samples`.

    A mistake in the space's own code ends its check, not the others.
    """
    rng = np.random.default_rng(seed)
    archs: list[Any] = []

    def sample() -> None:
        """Samples can be drawn: every decision at random, decoded."""
        archs.extend(dict.fromkeys(space.sample(rng) for _ in range(num_samples)))

    def checks() -> Iterator[tuple[Callable, tuple]]:
        yield conformance.choices, (space,)
        yield sample, ()
        # Here the architectures are drawn.
        members = archs[:num_members]
        yield conformance.round_trips, (space, archs)
        yield conformance.refusals, (space, archs)
        yield conformance.sizes, (space,)
        yield conformance.counts, (space, archs, None, None, flops)
        yield conformance.least, (space, archs)
        yield conformance.masks, (space, archs)
        yield supernet_conformance.supernet, (space, members, image_size)
        yield supernet_conformance.parts, (space, members[:1], image_size)
        yield supernet_conformance.kernel, (space, members[:1], image_size)

    for function, arguments in checks():
        begun = time.perf_counter()
        fault = None
        try:
            function(*arguments)
        except UserError as error:
            fault = str(error)
        except Exception as error:  # the space's own code, which may raise anything
            where = traceback.extract_tb(error.__traceback__)[-1]
            fault = f"{type(error).__name__}: {error} ({where.filename}, line {where.lineno})"
        promise, _, _ = inspect.getdoc(function).partition("\n\n")
        seconds = time.perf_counter() - begun
        yield Finding(" ".join(promise.split()), fault, seconds)
        if function in (conformance.choices, sample) and fault:
            return


def main(argv: list[str]) -> None:
    """Check the space of a command line; exit code 1 if it breaks a promise."""
    parser = argparse.ArgumentParser(
        prog="python -m vintk_jax.spaces.check", description=__doc__.split("\n\n")[0]
    )
    parser.add_argument("space", help="package.module:SPACE, or the name of a built-in one")
    parser.add_argument(
        "--image-size",
        type=int,
        default=64,
        help="pixels a side that masks and kernels are checked at (default: 64)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=200,
        help="architectures that are counted, encoded and masked (default: 200)",
    )
    parser.add_argument(
        "--members",
        type=int,
        default=2,
        help="architectures whose supernet is compared with their own model (default: 2)",
    )
    parser.add_argument(
        "--own-flops",
        action="store_true",
        help="don't compare multiply-adds: the space counts them in its own way",
    )
    given = parser.parse_args(argv[1:])
    avoid_wrong_fusions()
    space = spaces.get(given.space)
    broken = 0
    findings = check(space, given.image_size, given.samples, given.members, not given.own_flops)
    for finding in findings:
        verdict = "ok    " if finding.fault is None else "BROKEN"
        print(f"{verdict} {finding.promise} ({finding.seconds:.1f} s)", flush=True)
        if finding.fault is not None:
            broken += 1
            print(f"       {finding.fault}", flush=True)
    if broken:
        print(f"{space.name} breaks {broken} promise(s).")
        sys.exit(1)
    print(f"{space.name} keeps what a space promises.")


if __name__ == "__main__":
    run(main)
