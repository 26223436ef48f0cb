"""Segmentation on CamVid: does a score rank segmenters, and does the search find a better one than
a person makes?

    # 12 architectures drawn at random, trained alike for a short time
    python -m benchmarks.camvid_study rank --camvid DIR
    # printed at its end
    python -m vintk_jax.rank --config configs/rank.py \
      --config.table=benchmarks/results/camvid_table.json ...
    # the search's choice beside hand-made segmenters of the same cost
    python -m benchmarks.camvid_study pays --camvid DIR --seeds 3

DIR is an unpacked CamVid (configs/segment_camvid.py). Searches and trainings are the commands of
this library in workdirs of their own; a study that was stopped goes on. Both train on train; `rank`
measures on val, `pays` on test.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import common
from benchmarks.revit_study import interval
from benchmarks.trainings import Kept, command, trained
from vintk_jax import spaces
from vintk_jax.spaces import Cost
from vintk_jax.spaces.segmentation import SegmenterSpace

CONFIG = "configs/segment_camvid.py"
SPACE = "seg-mini"
RANKED = 12
SHORT_EPOCHS = 12.0
# As a person would make it: six equal blocks of four heads, MLPs three times the width; with
# Segmenter's decoder, or with convolutions.
HAND_MADE = SegmenterSpace(
    "hand-made",
    (72,),
    (2,),
    (4,),
    (3.0,),
    ("mask", "conv"),
    head_dim=18,
    patch_size=8,
    conv_width=32,
    mask_depth=1,
    mask_heads=4,
    mask_hidden=216,
    resolution=(180, 240),
    num_classes=11,
)


def write_arch(path: Path, arch_json: dict[str, Any], space: str = SPACE) -> Path:
    """A file as a search leaves it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"space": space, "arch": arch_json}))
    return path


def rank(arguments: argparse.Namespace) -> None:
    """Train random architectures for a short time; write the table that `vintk_jax.rank` takes."""
    space = spaces.get(SPACE)
    drawn = [space.to_json(space.sample(np.random.default_rng([7, i]))) for i in range(RANKED)]
    kept = Kept(common.RESULTS / "camvid_rank.json", {"epochs": SHORT_EPOCHS, "archs": drawn})
    for i, arch in enumerate(drawn):
        if str(i) not in kept.found:
            best = write_arch(arguments.workdir / f"rank-{i}.json", arch)
            options = {
                "data.source": f"pairs:{arguments.camvid}",
                "data.test_split": "val",
                "model.arch": best,
                "optimizer.epochs": SHORT_EPOCHS,
            }
            workdir = arguments.workdir / f"rank-{i}"
            kept.add(
                str(i),
                trained(
                    CONFIG,
                    workdir,
                    "mean_iou",
                    **options,
                    **{"checkpoints.every_epochs": SHORT_EPOCHS},
                )["all"],
            )
    rows = [
        {"arch": arch, "accuracy": {"camvid_val_mean_iou": round(100 * kept.found[str(i)], 3)}}
        for i, arch in enumerate(drawn)
    ]
    path = common.RESULTS / "camvid_table.json"
    note = (
        f"mean IoU on CamVid's val after {SHORT_EPOCHS:g} epochs, seed 0; "
        "benchmarks/camvid_study.py"
    )
    common.write_json(path, {"table": "camvid", "space": SPACE, "note": note, "rows": rows})
    for row in rows:
        print(row["accuracy"]["camvid_val_mean_iou"], row["arch"])
    print(
        f"Written to {path}. Next: python -m vintk_jax.rank --config configs/rank.py "
        f"--config.table={path} --config.ntk.num_classes=11"
    )


def pays(arguments: argparse.Namespace) -> None:
    """Search under the hand-made segmenter's costs, train both alike, print the table."""
    space = spaces.get(SPACE)
    hand_made = {f"hand-made, {arch.decoder}": arch for arch in HAND_MADE.enumerate()}
    most = HAND_MADE.cost(hand_made["hand-made, mask"])
    kept = Kept(
        common.RESULTS / "camvid_pays.json",
        {"epochs": arguments.epochs, "candidates": arguments.candidates, "limits": most},
    )
    if "searched" not in kept.found:
        limits = {"limits.max_params_m": most.params / 1e6, "limits.max_flops_m": most.flops / 1e6}
        options = {"search.num_candidates": arguments.candidates, **limits}
        command("search", "configs/seg_space.py:mini", arguments.workdir / "search", **options)
        kept.add(
            "searched", json.loads((arguments.workdir / "search" / "best.json").read_text())["arch"]
        )
    choices = {
        "ViNTK's search": write_arch(arguments.workdir / "searched.json", kept.found["searched"])
    }
    for name, arch in hand_made.items():
        path = arguments.workdir / f"hand-made-{arch.decoder}.json"
        choices[name] = write_arch(
            path, HAND_MADE.to_json(arch), "benchmarks.camvid_study:HAND_MADE"
        )
    for seed in range(arguments.seeds):
        for name, best in choices.items():
            if f"{name} {seed}" not in kept.found:
                options = {
                    "seed": seed,
                    "optimizer.epochs": arguments.epochs,
                    "data.source": f"pairs:{arguments.camvid}",
                    "model.arch": best,
                }
                kept.add(
                    f"{name} {seed}",
                    trained(
                        CONFIG, arguments.workdir / f"{best.stem}-{seed}", "mean_iou", **options
                    )["all"],
                )
    costs = {"ViNTK's search": space.cost(space.from_json(kept.found["searched"]))}
    costs |= {name: HAND_MADE.cost(arch) for name, arch in hand_made.items()}
    _print(kept, costs, arguments)


def _print(kept: Kept, costs: dict[str, Cost], arguments: argparse.Namespace) -> None:
    """The table.

    Args:
        costs: of each segmenter, by its name.
    """
    mean_ious = {
        name: np.array([100 * kept.found[f"{name} {seed}"] for seed in range(arguments.seeds)])
        for name in costs
    }
    rows = []
    for name, values in mean_ious.items():
        mean, low, high = interval(mean_ious["ViNTK's search"] - values)
        beside = "" if name == "ViNTK's search" else f"{mean:+.2f} ({low:+.2f}, {high:+.2f})"
        each = ", ".join(f"{value:.2f}" for value in values)
        rows.append(
            [
                name,
                each,
                f"{values.mean():.2f}",
                f"{costs[name].params / 1e6:.2f}",
                f"{costs[name].flops / 1e6:.0f}",
                beside,
            ]
        )
    print(f"ViNTK's choice: {kept.found['searched']}")
    headings = [
        "segmenter",
        "by seed",
        "mean",
        "params (M)",
        "mult-adds (M)",
        "the search's lead, 95%",
    ]
    common.print_table(
        f"CamVid test, {arguments.epochs:g} epochs: mean IoU in percent", headings, rows
    )


def main() -> None:
    """Run one of the two studies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("study", choices=("rank", "pays"))
    parser.add_argument("--camvid", type=Path, required=True, help="an unpacked CamVid")
    parser.add_argument("--epochs", type=float, default=20.0, help="of `pays`")
    parser.add_argument("--candidates", type=int, default=500)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workdir", type=Path, default=Path("runs/camvid_study"))
    arguments = parser.parse_args()
    {"rank": rank, "pays": pays}[arguments.study](arguments)


if __name__ == "__main__":
    main()
