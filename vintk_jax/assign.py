"""Train a Token-Length Assigner for a Resizable ViT: `python -m vintk_jax.assign --config configs/tla_digits.py --workdir runs/revit_digits`.

Labels held-out images with the smallest length at which the model is right, trains a light network to foresee it, and sets its thresholds for a budget
on other images. Writes assign/ to the workdir of the training; `python -m vintk_jax.infer` with the same config uses it.
"""

import sys

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_training, use_large_pages

_COMPARED = 2000  # training images whose labels are shown beside the held-out ones'


def main(argv: list[str]) -> None:
    """Assign from a command line."""
    invocation = configs.parse(argv, command="assign", about=__doc__, default_config="configs/tla_digits.py")
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    configs.read_claimed(workdir, "train")
    set_up_training()

    import dataclasses

    from filelock import FileLock, Timeout
    from rich.console import Console

    from vintk_jax.adaptive import assigned, labels
    from vintk_jax.adaptive.assigners import make, reads_features
    from vintk_jax.adaptive.calibration import Calibration, shares
    from vintk_jax.adaptive.fitting import fit_assigner
    from vintk_jax.adaptive.plans import Assigner
    from vintk_jax.adaptive.session import Session
    from vintk_jax.report.adaptive_table import budget_lines, label_table
    from vintk_jax.report.progress import COMPILING, Progress

    console = Console()
    session = Session.open(workdir, config, lambda note: console.print(note, style="yellow"))
    session.refuse_training_images()
    tla = config.tla
    module = make(tla.kind, len(session.plans.names), tla.width, tla.thumbnail)
    splits = {"held out": config.labels.split, "calibration": config.labels.calibrate_split, "trained on": session.trained.data.train_split}
    counts = {what: session.length_of(split) for what, split in splits.items()}
    counts["trained on"] = min(counts["trained on"], _COMPARED, counts["held out"])
    console.print(
        f"Labels from {counts['held out']:,} images of {splits['held out']}, thresholds from {counts['calibration']:,} of {splits['calibration']}; "
        f"lengths {', '.join(session.plans.names)}; a {tla.kind} assigner, into {session.folder}"
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    try:
        with FileLock(workdir / ".assign.lock", timeout=0), Progress(sum(counts.values()), unit="images", console=console) as progress:
            answers, before = {}, 0
            for what, split in splits.items():
                progress.phase(f"{COMPILING if not before else 'running'}: {what}")
                answers[what] = session.answers(split, lambda done, before=before: progress.update(before + done), counts[what])
                before += counts[what]
            progress.phase("training the assigner")
            of = {what: labels.smallest_right(answers[what].right, config.labels.none_right) for what in splits}
            costs = shares(session.plans.multiply_adds)
            held_out = answers["held out"]
            params, losses = fit_assigner(
                module,
                held_out.features if reads_features(module) else held_out.thumbnails,
                *of["held out"],
                costs,
                epochs=tla.epochs,
                batch_size=tla.batch_size,
                learning_rate=tla.learning_rate,
                weight_decay=tla.weight_decay,
                cost_weight=tla.cost_weight,
                seed=config.seed,
            )
            if not all(map(float.__le__, losses[-1:].tolist(), [1e6])):
                raise UserError(f"The assigner's loss is {losses[-1]} at the end. Lower tla.learning_rate.")
            progress.phase("calibrating")
            assigner = Assigner(module, params, tla.thumbnail, costs, 0.0)
            of_assigner = session.plans.assigner_multiply_adds(assigner)
            calibration = Calibration.of(answers["calibration"], assigner, session.plans.multiply_adds, of_assigner)
            distributions = {what: labels.distribution(*of[what], session.plans.names) for what in ("held out", "trained on")}
            assigned.save(
                session.folder,
                params,
                {
                    "model": session.predictor.identity,
                    "names": session.plans.names,
                    "tla": dict(tla.items()),
                    "labels": {"none_right": config.labels.none_right, "split": config.labels.split, "shares": distributions},
                    "loss": float(losses[-len(losses) // 10 :].mean()),
                    "multiply_adds": {**session.plans.multiply_adds, "assigner": of_assigner},
                    "calibration": dataclasses.asdict(calibration),
                },
            )
    except Timeout as error:
        raise UserError(f"Another process assigns in {workdir}. Wait for it.") from error
    console.print(label_table(distributions, {what: counts[what] for what in distributions}))
    for line in budget_lines(calibration, config.budget.max_drop, config.budget.max_cost, counts["calibration"]):
        console.print(line, soft_wrap=True)
    console.print(f"Use it: python -m vintk_jax.infer --config configs/tla_digits.py --workdir {workdir}", soft_wrap=True)


if __name__ == "__main__":
    use_large_pages()
    configs.run(main, sys.argv)
