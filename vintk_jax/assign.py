"""Train a Token-Length Assigner for a Resizable ViT: `python -m vintk_jax.assign --config
configs/tla_digits.py --workdir runs/revit_digits`.

Labels images that the model wasn't trained on with the smallest length at which it is right, trains
a light network to foresee that, and sets its thresholds for a budget on other images. Writes
assign/ to the workdir of the training; `python -m vintk_jax.infer` with the same config uses it.
"""

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_training, use_large_pages

_COMPARED = 2000  # training images whose labels are shown beside the held-out ones'


def main(argv: list[str]) -> None:
    """Assign from a command line."""
    invocation = configs.parse(
        argv, command="assign", about=__doc__, default_config="configs/tla_digits.py"
    )
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    configs.read_claimed(workdir, "train")
    set_up_training(invocation.compile_cache)

    from filelock import FileLock, Timeout

    from vintk_jax.adaptive import assigned, calibration, fitting, labels
    from vintk_jax.adaptive.assigners import make
    from vintk_jax.adaptive.crossfit import crossed_answers
    from vintk_jax.adaptive.plans import Assigner
    from vintk_jax.adaptive.session import Session
    from vintk_jax.report.adaptive_table import budget_line, label_table
    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import COMPILING, Progress

    console = make_console()

    def say(note):
        return console.print(note, style="yellow")

    def progress_of(total, unit):
        return Progress(total, unit=unit, console=console)

    session = Session.open(workdir, config, say)
    session.refuse_training_images()
    tla, names, train_split = config.tla, session.plans.names, session.trained.data.train_split
    assigner = Assigner(
        make(tla.kind, len(names), tla.width, tla.thumbnail),
        None,
        tla.target,
        tla.thumbnail,
        tla.keep,
        session.plans.costs,
    )
    looks = len(names) - 1 if assigner.shares and tla.again else 1
    how = fitting.Fit(config.labels.none_right, **{name: tla[name] for name in fitting.FIELDS})
    learned_from = (
        f"{train_split}, cross-fitted in {config.labels.folds} folds"
        if config.labels.folds
        else config.labels.split
    )
    splits = {} if config.labels.folds else {"labels": config.labels.split}
    splits |= {"thresholds": config.labels.calibrate_split} if config.labels.calibrate_split else {}
    sources = {what: session.open_split(split) for what, split in splits.items()}
    sources["trained on"] = session.open_split(train_split, _COMPARED)
    counted = ", ".join(f"{len(source):,} {what}" for what, (source, _) in sources.items())
    console.print(
        f"Labels from {learned_from} ({counted}); lengths {', '.join(names)}; a {tla.kind} "
        f"assigner, into {session.folder}"
    )
    learned, _ = session.open_split(train_split) if config.labels.folds else sources["labels"]
    fitting.steps_of(tla.epochs, tla.batch_size, len(learned))
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    configs.write_json(workdir / "assign.config.json", dict(configs.fields(config)))
    try:
        with FileLock(workdir / ".assign.lock", timeout=0):
            answers = (
                {"labels": crossed_answers(session, config.labels.folds, progress_of, say)}
                if config.labels.folds
                else {}
            )
            with progress_of(
                sum(len(source) for source, _ in sources.values()), "images"
            ) as progress:
                before = 0
                for what, (source, name) in sources.items():
                    progress.phase(
                        COMPILING if not before else f"running: {what}", then=f"running: {what}"
                    )

                    def advance(done, before=before):
                        return progress.update(before + done)

                    answers[what] = session.answers(session.predictor, source, name, advance)
                    before += len(source)
                progress.phase("training the assigner")
                assigner, losses = calibration.fitted(
                    assigner, answers["labels"], how, config.seed, looks
                )
                progress.phase("calibrating")
                if "thresholds" in answers:
                    chances = calibration.chances_of(assigner, answers["thresholds"])
                else:
                    chances = calibration.crossed_chances(
                        assigner, answers["labels"], how, config.seed, looks
                    )
                calibrated = calibration.Calibration.of(
                    answers.get("thresholds", answers["labels"]), chances, assigner, session.plans
                )
            distributions = {
                f"{len(answers[what].labels):,} images, {said}": labels.distribution(
                    answers[what].right, config.labels.none_right, names
                )
                for what, said in (("labels", "not trained on"), ("trained on", "trained on"))
            }
            record = {
                "model": session.predictor.identity,
                "names": names,
                "features": answers["labels"].features.shape[-1],
            }
            record |= {
                "tla": dict(tla.items()),
                "looks": looks,
                "labels": distributions,
                "losses": losses,
            }
            record |= {
                "multiply_adds": session.plans.multiply_adds
                | {"assigner": session.plans.look_multiply_adds(assigner)}
            }
            assigned.save(session.folder, assigner, calibrated, record)
    except Timeout as error:
        raise UserError(f"Another process assigns in {workdir}. Wait for it.") from error
    console.print(label_table(distributions))
    console.print(budget_line(calibrated, **config.budget), soft_wrap=True)
    console.print(
        f"Use it: python -m vintk_jax.infer --config {invocation.config_file} --workdir {workdir}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    use_large_pages()
    configs.run(main)
