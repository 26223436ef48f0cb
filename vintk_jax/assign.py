"""Train a Token-Length Assigner for a Resizable ViT: `python -m vintk_jax.assign --config
configs/tla_digits.py --workdir runs/revit_digits`.

Labels images that the model wasn't trained on with the smallest length at which it is right, trains
a light network to foresee that, and sets its thresholds for a budget on other images. Writes
assign/ to the workdir of the training; `python -m vintk_jax.infer` with the same config uses it.
"""

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.defaults.field import fields
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.jax_settings import restart_with_large_pages, set_up_training
from vintk_jax.workdir.config_claims import read_claimed


@command("assign", about=__doc__, default_config="configs/tla_digits.py")
def main(invocation: Invocation) -> None:
    """Assign."""
    config = invocation.config
    workdir = invocation.workdir
    training = read_claimed(workdir, "train")
    # Models of folds are trained on as many CPU devices as the model was.
    set_up_training(invocation.compile_cache, training.mesh.get("cpu_devices", 1))

    from filelock import FileLock, Timeout

    from vintk_jax.adaptive.assigning import Assigning
    from vintk_jax.adaptive.budget_line import budget_line
    from vintk_jax.adaptive.foretelling import IMAGES, foretell, foretold_line
    from vintk_jax.adaptive.session import Session
    from vintk_jax.report.adaptive_table import label_table
    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import COMPILING, Progress

    console = make_console()

    def say(note: str) -> None:
        console.print(note, style="yellow")

    def progress_of(total: int, unit: str) -> Progress:
        return Progress(total, unit=unit, console=console)

    session = Session.open(workdir, config, say)
    assigning = Assigning.of(session, keep=not invocation.dry_run)
    labels = config.labels
    learned_from = labels.split
    if labels.folds:
        train_split = session.training.data.train_split
        learned_from = f"{train_split}, cross-fitted in {labels.folds} folds"
    counted = ", ".join(
        f"{len(source):,} {what}" for what, (source, _) in assigning.sources.items()
    )
    console.print(
        f"Labels from {learned_from} ({counted}); lengths {', '.join(session.plans.names)}; a "
        f"{config.tla.kind} assigner, into {session.folder}"
    )
    if invocation.dry_run:
        unseen, _ = assigning.unseen
        max_drop = config.budget.max_drop
        with progress_of(min(len(unseen), IMAGES), "images") as progress:
            progress.phase(COMPILING, then="foretelling")
            found = foretell(session, unseen, max_drop, progress.update)
        console.print(foretold_line(found, max_drop), soft_wrap=True)
        console.print("A dry run: nothing was written.")
        return
    write_json(workdir / "assign.config.json", dict(fields(config)))
    try:
        with FileLock(workdir / ".assign.lock", timeout=0):
            calibration, distributions = assigning.run(progress_of, say)
    except Timeout as error:
        raise UserError(f"Another process assigns in {workdir}. Wait for it.") from error
    console.print(label_table(distributions))
    console.print(budget_line(calibration, **config.budget), soft_wrap=True)
    console.print(
        f"Use it: python -m vintk_jax.infer --config {invocation.config_file} --workdir {workdir}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    restart_with_large_pages()
    run(main)
