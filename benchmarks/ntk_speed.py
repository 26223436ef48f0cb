"""How fast one kernel is: ours against neural-tangents, PyTorch, a plain forward and backward pass,
and the operations counted.

    # all cases, about an hour on two cores; writes benchmarks/results/ntk_speed.json
    python -m benchmarks.ntk_speed
    python -m benchmarks.ntk_speed --quick     # a smoke run: one case, two rounds

Contestants run in turns within one process. Peak memory is that of a fresh process that runs one
contestant once; it holds the imports and the model too, which the row "nothing run" shows by
themselves.
"""

import argparse
import gc
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common, jax_kernels, torch_kernels
from benchmarks.cases import CASES, Case, counted_macs, data, torch_config, widest
from benchmarks.jax_kernels import NEURAL_TANGENTS, OURS
from benchmarks.ntk_targets import evaluate, fastest_neural_tangents
from benchmarks.torch_autoformer import AutoFormer, Config, load_flax
from vintk_jax import spaces
from vintk_jax.jax_settings import avoid_wrong_fusions

PRODUCT = "2048 x 2048 product"
_SLOW_S = 15.0
_SHARE = 0.6  # of the free memory that one contestant may need
_KERNELS = (OURS, *NEURAL_TANGENTS, torch_kernels.LOOP, torch_kernels.VMAP)


def measure_memory(case: Case, without: Sequence[str] = ()) -> dict[str, dict[str, Any]]:
    """Peak bytes, or the error, of every contestant in a process of its own, and of one that only
    builds the model ("nothing run").
    """
    space = spaces.get(case.space)
    config = torch_config(widest(space), case.image_size)
    requests = {
        ("benchmarks.jax_kernels", name): {"case": case, "contestant": name}
        for name in ("", *jax_kernels.CONTESTANTS)
    }
    for name in ("", *torch_kernels.CONTESTANTS):
        requests["benchmarks.torch_kernels", name] = {
            "config": config,
            "images": case.images,
            "contestant": name,
        }
    replies = {}
    for (module, name), request in requests.items():
        if name in without:
            continue
        label = name or (
            "nothing run, JAX" if module.endswith("jax_kernels") else "nothing run, PyTorch"
        )
        print(f"  memory of {label}", flush=True)
        replies[label] = common.child(module, request)
    return replies


def _prepare(
    case: Case, without: Sequence[str]
) -> tuple[dict[str, Callable[[], Any]], dict[str, dict[str, Any]]]:
    """What to run by contestant, and for every contestant its compile time or the reason for which
    it is left out.
    """
    space = spaces.get(case.space)
    variables = jax_kernels.variables_of(space, case.image_size)
    images, direction = data(case.images, case.image_size)
    model = load_flax(AutoFormer(Config(**torch_config(widest(space), case.image_size))), variables)
    tensors = torch_kernels.tensors(images, direction)
    runs = {}
    about = {}

    def admit(name: str, run: Callable[[], Any], needs: int, compile_s: float) -> None:
        about[name] = {"compile_s": compile_s}
        free = common.free_bytes()
        # others keep their own memory, and all of them run in one process
        if needs > _SHARE * free:
            about[name]["skipped"] = f"needs {needs / 2**30:.1f} GiB, {free / 2**30:.1f} are free"
        else:
            runs[name] = run

    for name in (name for name in jax_kernels.CONTESTANTS if name not in without):
        print(f"  compiling {name}", flush=True)
        ready = jax_kernels.prepare(name, space, variables, images, direction)
        admit(name, ready.run, ready.needs, ready.compile_s)
    for name, kernel in torch_kernels.CONTESTANTS.items():
        if name in without:
            continue
        needs = torch_kernels.bytes_needed(name, model, case.images)
        admit(name, partial(kernel, model, *tensors), needs, 0.0)
    return {PRODUCT: common.matrix_product(), **runs}, about


def measure_time(
    case: Case, rounds: int, slow_rounds: int, without: Sequence[str] = ()
) -> dict[str, Any]:
    """Times of all contestants on a case, in turns; who took long to warm up has fewer rounds."""
    runs, contestants = _prepare(case, without)
    wanted = {}
    reference = None
    for name, run in runs.items():
        result, warm = common.timed(run)
        print(f"  {name}: {warm.wall_s:.2f} s to warm up", flush=True)
        wanted[name] = slow_rounds if warm.wall_s > _SLOW_S else rounds
        if name in _KERNELS:
            kernel = np.asarray(result, np.float64)
            reference = kernel if name == OURS else reference
            contestants[name]["relative_difference_to_ours"] = float(
                np.linalg.norm(kernel - reference) / np.linalg.norm(reference)
            )
    sampled = common.alternate(runs, wanted)
    product = sampled.pop(PRODUCT)
    for name, times in sampled.items():
        contestants[name] |= times.as_json()
    macs = counted_macs(case)
    rate = common.gflops(product.median_s)
    return {
        "contestants": contestants,
        "matrix_product": product.as_json() | {"gflops": rate},
        "counted": {"macs": macs, "seconds": 2 * sum(macs.values()) / rate / 1e9},
    }


def _rows(results: dict[str, dict[str, Any]]) -> list[list[str]]:
    rows = []
    for label, result in results.items():
        contestants = result["contestants"]
        memory = result.get("memory", {})
        ours = contestants[OURS]["median_s"]
        best = fastest_neural_tangents(result)
        for name in dict.fromkeys([*contestants, *memory]):
            entry = contestants.get(name, {})
            reply = memory.get(name, {})
            peak = (
                f"{reply['peak_bytes'] / 2**30:.2f}"
                if "peak_bytes" in reply
                else "failed"
                if reply
                else ""
            )
            if "median_s" in entry:
                time = f"{entry['median_s']:.3f}"
                ratio = f"{entry['median_s'] / ours:.2f}"
                runs = str(len(entry["wall_s"]))
            else:
                time = entry.get("skipped", "")
                ratio = ""
                runs = ""
            shown = f"{name} (its best)" if name == best else name
            rows.append(
                [
                    label,
                    shown,
                    time,
                    ratio,
                    runs,
                    f"{entry['compile_s']:.1f}" if entry.get("compile_s") else "",
                    peak,
                ]
            )
        counted = result["counted"]["seconds"]
        rate = result["matrix_product"]["gflops"]
        rows.append(
            [
                label,
                f"counted operations at {rate:.0f} GFLOP/s",
                f"{counted:.3f}",
                f"{counted / ours:.2f}",
                "",
                "",
                "",
            ]
        )
    return rows


def report(results: dict[str, dict[str, Any]], targets: list[dict[str, Any]]) -> None:
    """Print both tables."""
    headings = ("case", "contestant", "seconds", "x ours", "runs", "compile s", "peak GiB")
    common.print_table(
        "Time of one kernel (median) and peak memory", headings, _rows(results), text_columns=2
    )
    verdict = {True: "yes", False: "NO", None: "not measured"}

    def value(t):
        return "" if t["value"] is None else f"{t['value']:.2f}"

    rows = [
        [t["case"], t["target"], value(t), t["bound"], verdict[t["met"]]]
        for case in results
        for t in targets
        if t["case"] == case
    ]
    common.print_table(
        "Targets", ("case", "target", "measured", "wanted", "met"), rows, text_columns=2
    )


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="only the first case, two rounds")
    every = ", ".join(f"{i}: {case}" for i, case in enumerate(CASES))
    parser.add_argument(
        "--cases",
        type=int,
        nargs="+",
        default=range(len(CASES)),
        help=f"which cases, by number ({every})",
    )
    parser.add_argument(
        "--rounds",
        type=int,
        default=7,
        help="runs of each contestant in a case (default: %(default)s)",
    )
    parser.add_argument(
        "--slow-rounds",
        type=int,
        default=3,
        help=f"runs of those that take over {_SLOW_S:.0f} s (default: %(default)s)",
    )
    everyone = (*jax_kernels.CONTESTANTS[1:], *torch_kernels.CONTESTANTS)
    parser.add_argument(
        "--without",
        nargs="+",
        default=(),
        choices=everyone,
        metavar="NAME",
        help=f"leave out: {'; '.join(everyone)}",
    )
    parser.add_argument(
        "--memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="also measure peak memory (default: yes)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=common.RESULTS / "ntk_speed.json",
        help="where the JSON goes (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    args = _arguments()
    avoid_wrong_fusions()
    rounds, slow_rounds = (2, 1) if args.quick else (args.rounds, args.slow_rounds)
    machine = common.machine() | {"torch_threads": common.use_all_cores()}
    results = {}
    for case in CASES[:1] if args.quick else [CASES[i] for i in args.cases]:
        print(case, flush=True)
        memory = {"memory": measure_memory(case, args.without)} if args.memory else {}
        results[str(case)] = (
            {"case": case._asdict()}
            | measure_time(case, rounds, slow_rounds, args.without)
            | memory
        )
        gc.collect()
        targets = evaluate(results)
        rate = statistics.median(result["matrix_product"]["gflops"] for result in results.values())
        # After each case, so that a run cut off keeps what it measured.
        common.write_json(
            args.out,
            {
                "machine": machine,
                "matrix_product_gflops": rate,
                "cases": results,
                "targets": targets,
            },
        )
    report(results, targets)


if __name__ == "__main__":
    main()
