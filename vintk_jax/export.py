"""Export a trained model: `python -m vintk_jax.export --config configs/export.py --workdir
runs/revit_digits`.

Writes a folder that runs with jax alone: StableHLO programs for CPU, GPU and TPU with a free batch
size, one for each token length and those of the assigner, their weights, model.json, and load.py,
which runs them; --config.formats="('stablehlo', 'onnx', 'timm')" adds ONNX models and a PyTorch
model in timm's style with its weights.
"""

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_training


def main(argv: list[str]) -> None:
    """Export from a command line."""
    invocation = configs.parse(
        argv, command="export", about=__doc__, default_config="configs/export.py"
    )
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    trained = configs.read_claimed(workdir, "train")
    set_up_training(invocation.compile_cache)

    from pathlib import Path

    from vintk_jax.adaptive import assigner_files
    from vintk_jax.adaptive.session import FOLDER
    from vintk_jax.exporting.folder import check, write
    from vintk_jax.exporting.programs import programs_of
    from vintk_jax.inference.predictor import Predictor
    from vintk_jax.report.console import make_console

    console = make_console()
    if config.adaptive not in ("auto", "yes", "no") or config.checkpoint not in ("best", "last"):
        raise UserError(
            f"adaptive={config.adaptive!r}, checkpoint={config.checkpoint!r} came; auto, yes or "
            "no, and best or last were wanted."
        )
    predictor = Predictor.load(
        workdir, trained, config.checkpoint, lambda note: console.print(note, style="yellow")
    )
    assigner, about = None, {"weights": predictor.identity, "crop_ratio": trained.data.crop_ratio}
    if config.adaptive == "yes" or (
        config.adaptive == "auto" and (workdir / FOLDER / assigner_files.RECORD).exists()
    ):
        budget = (
            config.budget
            if config.budget.max_drop >= 0
            else configs.read_claimed(workdir, "assign").budget
        )
        assigner, calibration = assigner_files.read(workdir / FOLDER, predictor.identity)
        point = calibration.choose("assigned", **budget)
        assigner = assigner.at(point)
        about |= {
            "budget": dict(budget.items()),
            "expected": {
                "accuracy": point.accuracy,
                "of_longest": calibration.full,
                "cost": point.cost,
            },
        }
    folder = Path(config.folder).expanduser() if config.folder else workdir / "export"
    programs = programs_of(predictor, assigner)
    console.print(f"{len(programs)} programs ({', '.join(programs)}) into {folder}", soft_wrap=True)
    check(folder)
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    with console.status("exporting"):
        write(folder, predictor, assigner, programs, about, tuple(config.formats))
    console.print(
        f"Run it anywhere with jax: cd {folder} && python -c 'from load import Model; model = "
        'Model(".")\'',
        soft_wrap=True,
    )


if __name__ == "__main__":
    configs.run(main)
