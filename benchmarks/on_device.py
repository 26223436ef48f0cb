"""What this machine's accelerator does: one command of at most 8 minutes, for a GPU that is there
for a short time.

    python -m benchmarks.on_device            # writes benchmarks/results/on_device.json
    python -m benchmarks.on_device --small    # a smoke run, also on a CPU

Kernels beside neural-tangents (and PyTorch's vmap(grad), where PyTorch is installed), candidates a
second by candidates a call, train steps of a DeiT-S in bfloat16 as a share of what a matrix product
reaches, adaptive inference beside fixed lengths. What is measured is kept at once, in the order of
importance; the same command goes on, and what no time was left for is said.
"""

import argparse
import os
import time
from pathlib import Path

from benchmarks import common
from benchmarks.trainings import Kept

_LAST_START = 0.9  # of the time: what begins later would hardly end in it
_PRODUCT = 8192  # rows of the product that rates refer to; on a CPU 1024
_COLUMNS = ("ms", "a second", "TFLOP/s", "GiB", "compile s", "error", "share of the longest")


def _shown(name: str, value: float | None) -> str:
    if value is None:
        return ""
    return (
        f"{value:.1e}" if name == "error" else f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"
    )


def report(found: dict[str, dict]) -> None:
    """Print the table of what is measured."""
    rows = []
    for name, figures in found.items():
        part, case, who = name.split(" | ")
        first = figures.get("failed", _shown("ms", figures.get("ms")))
        rest = [_shown(column, figures.get(column)) for column in _COLUMNS[1:]]
        rows.append([part, case, who, first, *rest])
    common.print_table("This device", ("part", "case", "who", *_COLUMNS), rows, text_columns=3)


def main() -> None:
    """Measure what isn't there yet, print, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--small", action="store_true", help="tiny models, two rounds")
    parser.add_argument("--minutes", type=float, default=8.0, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, default=common.RESULTS / "on_device.json")
    arguments = parser.parse_args()
    started = time.monotonic()
    # PyTorch wants some of the memory, too.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    import jax

    from benchmarks import device_parts

    device = jax.local_devices()[0]
    sizes = device_parts.SMALL if arguments.small else device_parts.Sizes()
    product = 1024 if device.platform == "cpu" else _PRODUCT
    of = {"device": device.device_kind, "small": arguments.small}
    kept = Kept(arguments.out, of)
    left = []
    for one in device_parts.measurements(sizes, product):
        name = " | ".join(one[:3])
        if name in kept.found:
            continue
        if time.monotonic() - started > _LAST_START * 60 * arguments.minutes:
            left.append(name)
            continue
        try:
            figures = one.run()
        except Exception as error:  # a row that fails (memory, mostly) takes no other along
            figures = {"failed": f"{type(error).__name__}: {str(error).splitlines()[0][:80]}"}
        kept.add(name, figures)
        print(f"{time.monotonic() - started:4.0f} s  {name}: {figures}", flush=True)
    report(kept.found)
    if left:
        print(f"No time was left for {len(left)}: {left[0]}, ... The same command goes on.")


if __name__ == "__main__":
    main()
