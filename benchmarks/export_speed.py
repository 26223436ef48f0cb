"""An exported model beside the library: images a second as StableHLO, as ONNX, and by our own
programs, at each length and with lengths assigned.

    python -m vintk_jax.export --config configs/export.py --workdir runs/revit_digits \
      --config.formats="('stablehlo', 'onnx')"
    python -m benchmarks.export_speed --workdir runs/revit_digits

Images lie in memory, batches are full, all ways take turns, medians of the rounds. Prints one table
and writes it to benchmarks/results/.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks import common


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workdir", type=Path, default=Path("runs/revit_digits"))
    parser.add_argument("--images", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def _engine(arguments: argparse.Namespace, predictor, budget: dict[str, float]):
    """Ours with the assigner, within a budget."""
    from vintk_jax.adaptive import assigner_files
    from vintk_jax.inference.engine import Engine
    from vintk_jax.inference.plans import Plans

    assigner, calibration = assigner_files.read(arguments.workdir / "assign", predictor.identity)
    point = calibration.choose(
        "assigned", budget["max_drop"], budget["max_cost"], budget["confidence"]
    )
    plan = assigner.at(point).plan(Plans(predictor))
    return Engine(plan, predictor.shape, (64, arguments.images))


def main() -> None:
    """Measure, print, write."""
    arguments = _arguments()

    from vintk_jax.jax_settings import set_up_training

    set_up_training()
    from vintk_jax.exporting.load import Model
    from vintk_jax.inference.predictor import Predictor

    folder = arguments.workdir / "export"
    predictor = Predictor.load(arguments.workdir)
    exported = Model(folder)
    models = {form: Model(folder, form) for form in exported.plan["formats"]}
    images = np.random.default_rng(0).integers(
        0, 256, (arguments.images, *predictor.shape), np.uint8
    )
    engines = {}
    if "budget" in exported.plan:
        engines["assigned"] = _engine(arguments, predictor, exported.plan["budget"])

    def calls_at(length: str) -> dict[str, Callable]:
        """What is timed: ours, and the exported model in each format."""
        if length in engines:
            exports = {form: partial(model, images) for form, model in models.items()}
            return {"ours": partial(engines[length].all, images), **exports}

        def ours():
            return np.asarray(predictor(images, length))

        exports = {form: partial(model.at, length, images) for form, model in models.items()}
        return {"ours": ours, **exports}

    rows = []
    written = {}
    for length in [*exported.lengths, *engines]:
        calls = calls_at(length)
        for call in calls.values():
            call()
        sampled = common.alternate(calls, arguments.rounds)
        speeds = {name: arguments.images / found.median_s for name, found in sampled.items()}
        written[length] = speeds
        rows.append(
            [
                length,
                f"{speeds['ours']:,.0f}",
                *(f"{speeds[form] / speeds['ours']:.2f}" for form in models),
            ]
        )
    common.print_table(
        f"{arguments.workdir.name}, {arguments.images} images",
        ["length", "ours, images/s", *(f"{form} over ours" for form in models)],
        rows,
    )
    common.write_json(
        common.RESULTS / f"export_speed-{arguments.workdir.name}.json",
        {"machine": common.machine(), "images_per_second": written},
    )


if __name__ == "__main__":
    main()
