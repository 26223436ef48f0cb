"""How fast a train step is: ours against timm's in PyTorch and the operations counted; and what all
lengths cost beside one by one.

    pip install torch==2.13.0 && pip install --no-deps timm safetensors huggingface_hub
    # minutes on two cores; writes benchmarks/results/train_speed.json
    python -m benchmarks.train_speed
    python -m benchmarks.train_speed --cases 0 --rounds 3

Contestants run in turns in one process, in float32, all with the memory settings of
`vintk_jax.train`. The floor is the step's multiply-adds (three times those of a forward pass) at
the rate that a 2048 x 2048 matrix product reached in the same turns.
"""

import argparse
import gc
import statistics
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from benchmarks import common, torch_timm
from benchmarks.revits import train_step
from vintk_jax.jax_settings import cores, restart_with_large_pages, set_up_training

PRODUCT = "2048 x 2048 product"
OURS = "ours"
TIMM = "timm"
ALL = "ours, all lengths"


class Case(NamedTuple):
    """A ViT and a batch; `lengths` a side, the first of them for the comparison with timm."""

    image_size: int
    lengths: tuple[int, ...]
    embed_dim: int
    depth: int
    num_heads: int
    batch: int

    @property
    def name(self) -> str:
        """For the table."""
        return (
            f"width {self.embed_dim}, depth {self.depth}, {self.lengths[0] ** 2} tokens, batch "
            f"{self.batch}"
        )


CASES = (
    Case(32, (8, 4, 2), 64, 3, 4, 64),
    Case(32, (8, 6, 4), 96, 5, 3, 128),
    Case(32, (8, 6, 4), 192, 6, 3, 64),
    Case(224, (14, 10, 7), 384, 4, 6, 8),
)


def forward_macs(case: Case, side: int, num_classes: int = 10, mlp_ratio: float = 4.0) -> int:
    """Multiply-adds of the matrix products of one image's forward pass at one length."""
    e = case.embed_dim
    tokens = side**2 + 1
    pixels = round(case.image_size / side) ** 2 * 3
    block = tokens * (4 * e * e + 2 * e * int(e * mlp_ratio)) + 2 * tokens**2 * e
    return side**2 * pixels * e + case.depth * block + e * num_classes


def _sampled(runs: dict[str, Callable[[], Any]], rounds: int) -> dict[str, common.Sampled]:
    """All in turns, after one turn that isn't counted."""
    for run in runs.values():
        run()
    return common.alternate(runs, rounds)


def measure(case: Case, rounds: int) -> dict[str, Any]:
    """Seconds a step of every contestant, and the ratios that the targets are about."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (case.batch, case.image_size, case.image_size, 3), np.uint8)
    labels = rng.integers(0, 10, case.batch).astype(np.int32)
    model = torch_timm.make_vit(
        case.image_size,
        round(case.image_size / case.lengths[0]),
        case.embed_dim,
        case.depth,
        case.num_heads,
        4.0,
        10,
    )
    against = {
        PRODUCT: common.matrix_product(),
        OURS: train_step(case, case.lengths[:1], images, labels),
        TIMM: torch_timm.make_step(model, images, labels),
    }
    sampled = _sampled(against, rounds)
    median = {name: found.median_s for name, found in sampled.items()}
    # By themselves: beside PyTorch's tensors a step that asks for over a gigabyte no longer gets it
    # in large pages.
    del against, model
    gc.collect()
    apart = {
        f"ours, {side**2} tokens alone": train_step(case, (side,), images, labels)
        for side in case.lengths
    }
    of_lengths = _sampled({ALL: train_step(case, case.lengths, images, labels), **apart}, rounds)
    sampled |= of_lengths
    macs = 3 * case.batch * forward_macs(case, case.lengths[0])
    floor = 2 * macs / (common.gflops(median[PRODUCT]) * 1e9)
    return {
        "case": case._asdict(),
        "contestants": {name: found.as_json() for name, found in sampled.items()},
        "product_gflops": common.gflops(median[PRODUCT]),
        "macs": macs,
        "floor_s": floor,
        "times_timm": median[TIMM] / median[OURS],
        "share_of_floor": floor / median[OURS],
        "all_over_apart": of_lengths[ALL].median_s
        / sum(of_lengths[name].median_s for name in apart),
    }


def main() -> None:
    """Print one table, write it as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common.add_cases(parser, len(CASES))
    parser.add_argument("--rounds", type=int, default=9, help="runs of each contestant")
    arguments = parser.parse_args()
    set_up_training(cpu_devices=cores())
    common.use_all_cores()
    found = [measure(CASES[number], arguments.rounds) for number in arguments.cases]
    rows = [
        [
            CASES[number].name,
            f"{one['contestants'][OURS]['median_s']:.3f}",
            f"{one['contestants'][TIMM]['median_s']:.3f}",
            f"{one['floor_s']:.3f}",
            f"{one['times_timm']:.2f}",
            f"{one['share_of_floor']:.0%}",
            f"{one['contestants'][ALL]['median_s']:.3f}",
            f"{one['all_over_apart']:.2f}",
        ]
        for number, one in zip(arguments.cases, found, strict=True)
    ]
    rate = statistics.median(one["product_gflops"] for one in found)
    headings = [
        "ViT",
        "ours (s)",
        "timm (s)",
        "floor (s)",
        "x timm's speed",
        "of the floor",
        "all lengths (s)",
        "over one by one",
    ]
    common.print_table(
        f"A train step, float32; matrix product at {rate:.0f} GFLOP/s", headings, rows
    )
    common.write_json(
        common.RESULTS / "train_speed.json",
        {"machine": common.machine() | {"timm": torch_timm.version()}, "cases": found},
    )


if __name__ == "__main__":
    restart_with_large_pages()  # for all contestants
    main()
