"""From images to an adaptive model in one run: `python -m vintk_jax.adapt --config configs/adapt.py
--config.data.source=folder:PATH --config.time_h=2`.

Looks at the images and measures this machine, then chooses sizes for the time that is allowed: the
plan. It is shown, kept in plan.json, and run: an architecture is searched on the images, trained at
several token lengths, given an assigner, compared, and exported. adapt.html says what came of it.
--dry-run shows the plan and stops. Without a config it takes the embedded digits, and five minutes
or so. The same command goes on after any kill. A best.json (given.arch), a file of weights
(given.weights) or a trained workdir (given.model) takes the place of the stages that make one.
"""

import time
from pathlib import Path
from typing import Any

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.workdir.config_claims import claim_workdir


@command("adapt", about=__doc__, default_config="configs/adapt.py", needs_config=False)
def main(invocation: Invocation) -> None:
    """Adapt."""
    begun = time.monotonic()
    config = invocation.config
    workdir = invocation.workdir

    from filelock import FileLock, Timeout

    from vintk_jax.adapting.given import read_given
    from vintk_jax.adapting.plan import Plan
    from vintk_jax.adapting.running import EXPORT, finished, run_stages
    from vintk_jax.report.console import make_console
    from vintk_jax.report.plan_table import plan_tables
    from vintk_jax.report.stage_progress import StageProgress

    console = make_console()
    given = read_given(config)
    _check_source(config, given)
    kept = Plan.read(workdir)
    if kept is not None:
        claim_workdir(workdir, "adapt", config, ())  # refuses another config
    # What is refused leaves nothing behind, so that the command can be mended.
    plan = kept or _planned(invocation, given, console, begun)
    for table in plan_tables(plan):
        console.print(table)
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    try:
        with FileLock(workdir / ".adapt.lock", timeout=0):
            claim_workdir(workdir, "adapt", config, ())
            kept = Plan.read(workdir)  # another process may have made one meanwhile
            if kept is None:
                plan.write(workdir)
                kept = plan
            with StageProgress(kept.seconds, list(finished(workdir)), console) as progress:
                taken = run_stages(
                    kept,
                    workdir,
                    progress,
                    invocation.compile_cache,
                    arch=given.arch,
                    model=given.model,
                )
    except Timeout as error:
        raise UserError(
            f"Another process adapts into {workdir}. Wait for it, or choose another --workdir."
        ) from error
    except KeyboardInterrupt:
        console.print("\nStopped; what is done is kept. The same command goes on.")
        raise
    _tell_outcome(console, workdir, taken)
    console.print(
        f'Use it elsewhere: vintk_jax.from_pretrained("{workdir / EXPORT}"). Open '
        f"{workdir / 'adapt.html'} to see what came of it.",
        soft_wrap=True,
    )


def _check_source(config: Any, given: Any) -> None:
    """Where a model is given, its images are its training's."""
    if given.training is None:
        return
    source = given.training.data.source
    if config.data.source not in ("digits", source):
        raise UserError(
            f"given.model={config.given.model} was trained on {source}, got data.source="
            f"{config.data.source}. Leave data.source out."
        )


def _planned(invocation: Invocation, given: Any, console: Any, begun: float) -> Any:
    """Look, measure, decide."""
    from vintk_jax.adapting.measuring import Processes
    from vintk_jax.adapting.planner import make_plan
    from vintk_jax.adapting.refusals import refuse_unusable
    from vintk_jax.adapting.running import environment
    from vintk_jax.adapting.survey import survey

    config = invocation.config
    source = config.data.source if given.training is None else given.training.data.source
    with console.status("looking at the images") as status:

        def advance(done: int, total: int) -> None:
            status.update(f"looking at the images: {done:,} of {total:,}")

        found = survey(source, advance, given.training)
        refuse_unusable(found)
        status.update("measuring this machine")
        machine = Processes(environment(invocation.compile_cache), _nothing)
        return make_plan(config, found, given, machine, invocation.workdir, begun)


def _tell_outcome(console: Any, workdir: Path, taken: dict[str, float]) -> None:
    from vintk_jax.adapting.results import summary_of

    for line in summary_of(workdir):
        console.print(line, soft_wrap=True)
    console.print(f"The stages took {sum(taken.values()) / 60:.1f} minutes.")


def _nothing() -> None:
    """Nothing to show while a process measures."""


if __name__ == "__main__":
    run(main)
