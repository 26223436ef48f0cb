"""Train a vision transformer, at one token length or several: `python -m vintk_jax.train --config
configs/revit_digits.py`.

The model is a ViT by its sizes, or the architecture of a search
(--config.model.arch=runs/vit_space/best.json). With a config that has a section `segmentation`
(configs/segment_digits.py) it gives every pixel a class, with one `clips` (configs/revit_clips.py)
it takes clips. Writes metrics.jsonl, tensorboard/ and checkpoints/ (the last two and the best) to
the workdir, for a segmenter also predictions.png. The same command goes on after any kill.
"""

from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.jax_settings import cores, restart_with_large_pages, set_up_training
from vintk_jax.workdir.config_claims import claim_workdir, read_claimed

MAY_CHANGE = (
    "log_every",
    "data.threads",
    "mesh.data",
    "mesh.fsdp",
    "mesh.tensor",
    "mesh.cpu_devices",
)


@command("train", about=__doc__, default_config="configs/revit_digits.py")
def main(invocation: Invocation) -> None:
    """Train."""
    config = invocation.config
    workdir = invocation.workdir
    _as_begun(config, workdir)
    set_up_training(invocation.compile_cache, max(cores(), config.mesh.cpu_devices))

    import jax
    from filelock import FileLock, Timeout

    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.segment_pictures import write_predictions
    from vintk_jax.report.train_table import measure_tables
    from vintk_jax.tasks import kind_of
    from vintk_jax.tasks.architecture import keep_arch
    from vintk_jax.training import sharding
    from vintk_jax.training.loop import fit
    from vintk_jax.training.setup import set_up
    from vintk_jax.weights import weights_reader

    console = make_console(quiet=jax.process_index() > 0)
    setup = set_up(config)
    config.optimizer.accumulate = setup.recipe.accumulate
    if sharding.cpu_alone():
        config.mesh.cpu_devices = setup.mesh.shape["data"]
    train = setup.task.train
    test = setup.task.test
    dense = kind_of(config).name == "segmentation"

    def say(note: str) -> None:
        console.print(note, style="yellow")

    console.print(f"{_headline(setup)}, into {workdir}")
    for note in dict.fromkeys((*train.notes, *test.notes)):
        console.print(note, style="yellow", soft_wrap=True)
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    if jax.process_index() == 0:
        claim_workdir(workdir, "train", config, MAY_CHANGE)
        keep_arch(config.model, workdir)
    try:
        with (
            FileLock(workdir / f".train.{jax.process_index()}.lock", timeout=0),
            Progress(setup.steps, unit="steps", console=console) as progress,
        ):
            read_weights = weights_reader(config, setup.spec.model, say)
            reached, params = fit(setup, workdir, progress, say, read_weights)
    except Timeout as error:
        raise UserError(
            f"Another process trains into {workdir}. Wait for it, or choose another --workdir."
        ) from error
    except KeyboardInterrupt:
        console.print("\nStopped; the last checkpoint is kept. The same command goes on.")
        raise
    for table in measure_tables(
        workdir, reached, setup.task.objective, len(test), config.data.test_split
    ):
        console.print(table)
    if dense and jax.process_count() == 1:
        write_predictions(workdir / "predictions.png", setup.task, jax.device_get(params))
        console.print(f"Image, truth and prediction: {workdir / 'predictions.png'}", soft_wrap=True)
    folder = " --config.data.source=images:FOLDER" if dense else ""
    console.print(
        "Predict with it: python -m vintk_jax.infer --config configs/infer.py --workdir "
        f"{workdir}{folder}",
        soft_wrap=True,
    )


def _headline(setup: Any) -> str:
    """What will be trained, on what."""
    import jax

    config = setup.config
    count = sum(leaf.size for leaf in jax.tree.leaves(setup.like.params))
    train = setup.task.train
    return (
        f"{type(setup.spec.model).__name__} of {count / 1e6:.2f} M parameters, token lengths "
        f"{', '.join(setup.spec.names)}, on {len(train):,} images of {config.data.source} "
        f"({config.data.image_size} px, {len(train.classes)} classes): {setup.steps:,} steps of "
        f"{config.data.batch_size} on {setup.mesh.size} {jax.devices()[0].platform} device(s), "
        f"seed {config.seed}"
    )


def _as_begun(config: ml_collections.ConfigDict, workdir: Path) -> None:
    """A run goes on in the pieces, and on as many CPU devices, as it was begun with: others round
    otherwise.
    """
    if not (workdir / "train.config.json").exists():
        return
    before = read_claimed(workdir, "train")
    if not config.optimizer.accumulate:
        config.optimizer.accumulate = before.get("optimizer", {}).get("accumulate", 0)
    if not config.mesh.cpu_devices:
        # A run from before there was the field had one.
        config.mesh.cpu_devices = before.get("mesh", {}).get("cpu_devices", 1)


if __name__ == "__main__":
    restart_with_large_pages()
    run(main)
