"""Weizmann's actions, one person left out at a time: accuracy at each token length, and with each
clip at its own.

    python -m benchmarks.weizmann_study --npz ../shared/data/weizmann-actions/weizmann4_64px.npz

For each of the nine people: their four clips are tested on, the next person's label and teach the
assigner, the one's after that set its thresholds, the other 24 clips train the model. Four clips
are few for labels, so each is taken `COPIES` times, cut at both ends, moved and mirrored at random;
they are still four clips of one person. `train`, `assign` and `infer` are the library's commands in
a workdir a person, the last checkpoint is used, and what a fold measured is written to
benchmarks/results/ when it ends: a study that was stopped goes on.
"""

import argparse
import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from scipy import stats

from benchmarks import common
from benchmarks.trainings import Kept, command, trained
from vintk_jax.config_digest import digest
from vintk_jax.data.augment import padded_crop

CONFIG = "configs/revit_weizmann.py"
TLA = "configs/tla_weizmann.py"
COPIES = 20
TRAIN, LABELS, THRESHOLDS, TEST = range(4)  # parts of a fold's archive
# share of a clip that may be missing at either end; pixels
CUT = 0.15
MOVED = 3


def altered(
    frames: UInt8[np.ndarray, "frames side side 3"], rng: np.random.Generator
) -> UInt8[np.ndarray, "kept side side 3"]:
    """A clip that begins later, ends earlier, has moved, and is mirrored half of the time."""
    start, stop = (int(rng.uniform(0, CUT) * len(frames)) for _ in range(2))
    draw = int(rng.integers(2**31))
    moved = np.stack(
        [
            np.asarray(padded_crop(Image.fromarray(f), np.random.default_rng(draw), MOVED))
            for f in frames[start : len(frames) - stop]
        ]
    )
    return moved[:, :, ::-1] if rng.random() < 0.5 else moved


def write_fold(archive: Path, person: int, path: Path) -> None:
    """An npz whose `part` says what a clip is for, when this person is tested on."""
    with np.load(archive) as arrays:
        frames, lengths, labels, subjects = (
            arrays[name] for name in ("frames", "length", "label", "subject")
        )
    people = np.unique(subjects)
    of_person = {
        int(people[(person + step) % len(people)]): part
        for step, part in ((0, TEST), (1, LABELS), (2, THRESHOLDS))
    }
    clips = np.split(frames, np.cumsum(lengths)[:-1])
    found = []
    parts = []
    rng = np.random.default_rng(person)
    for clip, label, subject in zip(clips, labels, subjects, strict=True):
        part = of_person.get(int(subject), TRAIN)
        copies = (
            [altered(clip, rng) for _ in range(COPIES)] if part in (LABELS, THRESHOLDS) else [clip]
        )
        found += [(copy, label) for copy in copies]
        parts += [part] * len(copies)
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        "frames": np.concatenate([clip for clip, _ in found]),
        "length": np.array([len(clip) for clip, _ in found]),
    }
    np.savez(path, **arrays, label=np.array([label for _, label in found]), part=np.array(parts))


def fold(archive: Path, person: int, workdir: Path) -> dict[str, Any]:
    """Train, assign and infer; accuracies on the person's clips, and what the adaptive one costs
    beside the longest length.
    """
    path = workdir / "clips.npz"
    write_fold(archive, person, path)  # anew after a kill: the same numbers
    splits = {"data.train_split": f"part={TRAIN}", "data.test_split": f"part={TEST}"}
    accuracy = trained(CONFIG, workdir, **{"data.source": f"npz:{path}", **splits})
    command("assign", TLA, workdir)
    command("infer", TLA, workdir)
    entries = {
        entry["name"]: entry
        for entry in json.loads((workdir / "adaptive.json").read_text())["methods"]
    }
    tla = entries["tla"]
    longest = entries[f"fixed-{next(iter(accuracy))}"]
    path.unlink()
    return {
        "accuracy": accuracy,
        "adaptive": tla["accuracy"],
        "cost": tla["flops_per_image"] / longest["flops_per_image"],
        "mix": tla["mix"],
        "oracle": entries["oracle"]["accuracy"],
    }


def wilson(right: int, count: int) -> tuple[float, float]:
    """A 95% interval for a share (Wilson's)."""
    interval = stats.binomtest(right, count).proportion_ci(0.95, "wilson")
    return interval.low, interval.high


def print_found(found: dict[str, dict[str, Any]], clips: int) -> None:
    """A row a length, and one for lengths assigned: mean over people, its spread, all clips
    together.
    """
    folds = list(found.values())
    rows = []
    for name in (*folds[0]["accuracy"], "adaptive"):
        values = np.array(
            [one["adaptive"] if name == "adaptive" else one["accuracy"][name] for one in folds]
        )
        low, high = wilson(round(values.sum() * clips), clips * len(folds))
        each = " ".join(f"{value * clips:.0f}" for value in values)
        rows.append(
            [
                name,
                each,
                f"{values.mean():.1%}",
                f"{values.std(ddof=1) if len(values) > 1 else 0:.1%}",
                f"{low:.1%} to {high:.1%}",
            ]
        )
    headings = [
        "tokens",
        f"right of {clips}, by person",
        "mean",
        "deviation over people",
        "95% (Wilson), all clips",
    ]
    common.print_table(
        f"Weizmann, {len(folds)} people left out in turn", headings, rows, text_columns=2
    )
    costs = [one["cost"] for one in folds]
    print(
        f"multiply-adds of the adaptive one over the longest length's: {np.mean(costs):.0%} "
        f"({min(costs):.0%} to {max(costs):.0%})"
    )


def main() -> None:
    """Measure what isn't measured, print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--npz", type=Path, required=True, help="weizmann4_64px.npz")
    parser.add_argument(
        "--people", type=int, default=9, help="the first so many are left out in turn"
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/weizmann_study"))
    arguments = parser.parse_args()
    used = [digest(runpy.run_path(path)["get_config"]()) for path in (CONFIG, TLA)]
    kept = Kept(common.RESULTS / "weizmann_study.json", {"copies": COPIES, "configs": used})
    for person in range(arguments.people):
        if str(person) not in kept.found:
            kept.add(
                str(person),
                fold(arguments.npz, person, (arguments.workdir / str(person)).resolve()),
            )
    print_found(kept.found, 4)


if __name__ == "__main__":
    main()
