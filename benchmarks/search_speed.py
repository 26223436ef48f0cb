"""How fast a search scores AutoFormer-Tiny candidates: ours, one compiled model per candidate, and
PyTorch's per-sample loop.

    # 1,000 candidates of ours; writes benchmarks/results/search_speed.json
    python -m benchmarks.search_speed
    python -m benchmarks.search_speed --quick     # a smoke run

Each candidate is scored by one kernel, on 48 images of 64 px; 100 classes. Compiling counts: ours
is the whole command's wall-clock time from start to end. Fewer candidates than 1,000 are scaled up
with all the fixed costs in them, so --quick shows ours far too slow.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import common
from benchmarks.cases import data, torch_config
from benchmarks.jax_kernels import variables_of
from benchmarks.torch_autoformer import AutoFormer, Config
from benchmarks.torch_kernels import per_sample_loop, tensors
from vintk_jax import ntk
from vintk_jax.spaces import TINY

IMAGES = 48
IMAGE_SIZE = 64
CHANNELS = 3
CLASSES = 100
SEARCH = "ours: one program for all"
COMPILED = "one compiled model each"
LOOP = "PyTorch loop"
TARGET_S = 300.0
TARGET_GFLOPS = 200.0


def search_command(candidates: int) -> dict[str, Any]:
    """Wall-clock time of the search command in a new folder, without compiled programs of earlier
    runs.

    Returns:
        {"candidates" that were scored, "total_s", "per_candidate_s"}, or {"error"} where the
        command failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder) / "run"
        settings = {
            "search.num_candidates": candidates,
            "inputs.num_images": IMAGES,
            "inputs.image_size": IMAGE_SIZE,
            "ntk.num_classes": CLASSES,
        }
        command = [
            sys.executable,
            "-m",
            "vintk_jax.search",
            "--config",
            "configs/vit_space.py",
            "--workdir",
            str(workdir),
        ]
        command += [f"--config.{name}={value}" for name, value in settings.items()]
        environment = {**os.environ, "VINTK_COMPILE_CACHE": "off"}
        done, timing = common.timed(
            partial(
                subprocess.run,
                command,
                cwd=common.ROOT,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
        )
        if done.returncode:
            return {"error": (done.stderr or done.stdout).strip().splitlines()[-1]}
        scored = [
            json.loads(line)["number"]
            for line in (workdir / "candidates.jsonl").read_text().splitlines()
        ]
    return {
        "candidates": len(scored),
        "total_s": timing.wall_s,
        "per_candidate_s": timing.wall_s / len(scored),
    }


def compiled_candidate(arch, supernet: dict) -> dict[str, float]:
    """Seconds for the kernel of one architecture as a model of its own, and how much of them was
    compiling.

    Its parameters are cut from the supernet's: compiling an initialisation for each candidate would
    only cost more.
    """
    start = time.perf_counter()
    images, direction = map(jnp.asarray, data(IMAGES, IMAGE_SIZE, CHANNELS, CLASSES))
    model = TINY.model(arch, IMAGE_SIZE, CHANNELS, CLASSES)

    def score(variables: dict, images: jax.Array) -> jax.Array:
        return ntk.kernel(model, TINY.subnet(variables, arch), images, cotangent=direction[:, None])

    compiled = jax.jit(score).lower(supernet, images).compile()
    compiling = time.perf_counter() - start
    jax.block_until_ready(compiled(supernet, images))
    return {"seconds": time.perf_counter() - start, "compile_s": compiling}


def loop_candidate(arch) -> dict[str, float]:
    """Seconds for the kernel of one architecture as a PyTorch model of its own."""
    start = time.perf_counter()
    model = AutoFormer(Config(**torch_config(arch, IMAGE_SIZE, CHANNELS, CLASSES)))
    per_sample_loop(model, *tensors(*data(IMAGES, IMAGE_SIZE, CHANNELS, CLASSES)))
    return {"seconds": time.perf_counter() - start, "compile_s": 0.0}


def one_by_one(score, archs: list) -> dict[str, Any]:
    """Score candidates one after the other; the median stands for a candidate."""
    runs = []
    for arch in archs:
        runs.append(score(arch))
        print(f"  {len(runs)} of {len(archs)}: {runs[-1]['seconds']:.1f} s", flush=True)
    seconds = [run["seconds"] for run in runs]
    compiling = statistics.median(run["compile_s"] for run in runs)
    return {
        "candidates": len(archs),
        "per_candidate_s": statistics.median(seconds),
        "compile_s": compiling,
        "seconds": seconds,
    }


def _rows(results: dict[str, dict[str, Any]], gflops: float) -> list[list[str]]:
    ours = results[SEARCH].get("per_candidate_s")
    rows = []
    for name, result in results.items():
        if "error" in result:
            rows.append([name, result["error"], *[""] * 6])
            continue
        each = result["per_candidate_s"]
        compiling = f"{result['compile_s']:.2f}" if "compile_s" in result else "within"
        ratio = f"{each / ours:.1f}" if ours else ""
        at_target = 1000 * each * gflops / TARGET_GFLOPS
        rows.append(
            [
                name,
                str(result["candidates"]),
                f"{each:.3f}",
                compiling,
                f"{1 / each:.2f}",
                ratio,
                f"{1000 * each:.0f}",
                f"{at_target:.0f}",
            ]
        )
    return rows


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--quick", action="store_true", help="4 candidates of the search, 1 compiled, 2 in PyTorch"
    )
    parser.add_argument(
        "--candidates",
        type=int,
        default=1000,
        help="candidates of the search (default: %(default)s)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=common.RESULTS / "search_speed.json",
        help="where the JSON goes (default: %(default)s)",
    )
    return parser.parse_args()


def main() -> None:
    """Measure, print, write."""
    args = _arguments()
    count, compiled_count, loop_count = (4, 1, 2) if args.quick else (args.candidates, 4, 8)
    machine = common.machine() | {"torch_threads": common.use_all_cores()}
    rng = np.random.default_rng(0)
    archs = [TINY.sample(rng) for _ in range(max(compiled_count, loop_count))]
    supernet = variables_of(TINY, IMAGE_SIZE, CHANNELS, CLASSES)
    product = {"product": common.matrix_product()}
    before = common.alternate(product, 10)["product"]
    print(
        f"{count} candidates of the search, then {compiled_count} compiled one by one, then "
        f"{loop_count} in PyTorch",
        flush=True,
    )
    results = {
        SEARCH: search_command(count),
        COMPILED: one_by_one(
            partial(compiled_candidate, supernet=supernet), archs[:compiled_count]
        ),
        LOOP: one_by_one(loop_candidate, archs[:loop_count]),
    }
    after = common.alternate(product, 10)["product"]
    gflops = common.gflops(common.Sampled(before.runs + after.runs).median_s)

    headings = (
        "way",
        "candidates",
        "s each",
        "of it compiling",
        "per second",
        "x ours",
        "1,000 in s",
        f"... at {TARGET_GFLOPS:.0f} GFLOP/s",
    )
    common.print_table(
        f"Scoring AutoFormer-Tiny; matrix product at {gflops:.0f} GFLOP/s",
        headings,
        _rows(results, gflops),
    )
    each = results[SEARCH].get("per_candidate_s")
    value = None if each is None else 1000 * each * gflops / TARGET_GFLOPS
    target = {
        "target": f"seconds for 1,000 candidates at {TARGET_GFLOPS:.0f} GFLOP/s",
        "bound": f"< {TARGET_S:.0f}",
        "value": value,
    }
    target["met"] = None if value is None else value < TARGET_S
    shown = "not measured" if value is None else f"{value:.0f}"
    common.print_table(
        "Target",
        ("target", "measured", "wanted", "met"),
        [[target["target"], shown, target["bound"], str(target["met"])]],
    )
    written = {
        "machine": machine,
        "matrix_product": {"gflops": gflops, "before": before.as_json(), "after": after.as_json()},
    }
    common.write_json(args.out, {**written, "ways": results, "targets": [target]})


if __name__ == "__main__":
    main()
