"""Export a trained model: `python -m vintk_jax.export --config configs/export.py --workdir
runs/revit_digits`.

Writes a folder that runs with jax alone. It has StableHLO programs for CPU, GPU and TPU with a free
batch size, one for each token length and those of the assigner. Beside them are the weights,
model.json, and load.py, which runs them. --config.formats="('stablehlo', 'onnx', 'timm',
'huggingface')" adds ONNX models, a PyTorch model in timm's style with its weights, and the layout
of the Hugging Face Hub with a model card, which `vintk_jax.from_pretrained` reads.
"""

import functools
from pathlib import Path
from typing import Any

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.jax_settings import set_up_training
from vintk_jax.workdir.config_claims import read_claimed


@command("export", about=__doc__, default_config="configs/export.py")
def main(invocation: Invocation) -> None:
    """Export."""
    config = invocation.config
    workdir = invocation.workdir
    training = read_claimed(workdir, "train")
    set_up_training(invocation.compile_cache)

    from vintk_jax.exporting.folder import HUGGING_FACE, write
    from vintk_jax.exporting.hugging_face import HuggingFace
    from vintk_jax.exporting.programs import programs_of
    from vintk_jax.exporting.replace import check
    from vintk_jax.inference.plans import Plans
    from vintk_jax.inference.predictor import Predictor, refuse_segmenter
    from vintk_jax.report.console import make_console
    from vintk_jax.tasks.loading import load_trained

    console = make_console()
    if config.adaptive not in ("auto", "yes", "no"):
        raise UserError(f"Expected adaptive to be auto, yes or no, got {config.adaptive!r}.")
    if config.checkpoint not in ("best", "last"):
        raise UserError(f"Expected checkpoint to be best or last, got {config.checkpoint!r}.")
    say = functools.partial(console.print, style="yellow")
    refuse_segmenter(workdir, training)
    trained = load_trained(workdir, training, config.checkpoint, say)
    predictor = Predictor.of(trained, training)
    assigner, about = _assigner(config, workdir, predictor)
    about = {"weights": predictor.identity, "crop_ratio": training.data.crop_ratio, **about}
    folder = Path(config.folder).expanduser() if config.folder else workdir / "export"
    programs = programs_of(predictor, assigner)
    console.print(
        f"{len(programs)} programs ({', '.join(programs)}) as {', '.join(config.formats)} into "
        f"{folder}",
        soft_wrap=True,
    )
    check(folder)
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    with console.status("exporting"):
        hugging_face = None
        if HUGGING_FACE in config.formats:
            hugging_face = HuggingFace(
                workdir=workdir,
                training=training,
                spec=trained.spec,
                params=trained.params,
                classes=trained.classes,
                step=trained.step,
                assigner=assigner,
                multiply_adds=Plans(predictor).multiply_adds_alone,
                about=about,
                license=config.license,
            )
        formats = tuple(config.formats)
        write(folder, predictor, assigner, programs, about, formats, hugging_face)
    model = 'from load import Model; model = Model(".")'
    if formats == (HUGGING_FACE,):
        model = 'import vintk_jax; model = vintk_jax.from_pretrained(".")'
    console.print(f"Run it: cd {folder} && python -c '{model}'", soft_wrap=True)


def _assigner(config, workdir: Path, predictor) -> tuple[Any, dict[str, Any]]:
    """The workdir's assigner at the point that the budget asks for, and what model.json says of it.
    None and an empty dictionary where none is to be exported.
    """
    from vintk_jax.adaptive import assigner_files
    from vintk_jax.adaptive.session import FOLDER

    there = (workdir / FOLDER / assigner_files.RECORD).exists()
    if config.adaptive == "no" or (config.adaptive == "auto" and not there):
        return None, {}
    budget = config.budget
    if budget.max_drop < 0:
        budget = read_claimed(workdir, "assign").budget
    assigner, calibration = assigner_files.read(workdir / FOLDER, predictor.identity)
    point = calibration.choose("assigned", **budget)
    expected = {
        "accuracy": point.accuracy,
        "of_longest": calibration.full,
        "cost": point.cost,
    }
    return assigner.at(point), {"budget": dict(budget.items()), "expected": expected}


if __name__ == "__main__":
    run(main)
