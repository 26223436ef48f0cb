"""Predict with a trained model: `python -m vintk_jax.infer --config configs/tla_digits.py --workdir
runs/revit_digits`.

With a config that has a budget, each image runs at the length that the assigner of
`vintk_jax.assign` gives it, and where there are labels every way to spend tokens is compared
(adaptive.json, adaptive.png, adaptive.html). With configs/infer.py every image runs at each length
asked for. Writes predictions.jsonl to the workdir of the training; a segmenter writes a map for
each picture of images:FOLDER. The same command goes on after any kill.
"""

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.jax_settings import restart_with_large_pages, set_up_training
from vintk_jax.workdir.config_claims import read_claimed


@command("infer", about=__doc__, default_config="configs/infer.py")
def main(invocation: Invocation) -> None:
    """Predict."""
    config = invocation.config
    workdir = invocation.workdir
    training = read_claimed(workdir, "train")
    set_up_training(invocation.compile_cache)

    from filelock import FileLock, Timeout

    from vintk_jax.report.console import make_console
    from vintk_jax.tasks import kind_of

    console = make_console()
    if kind_of(training).name == "segmentation":
        from vintk_jax.inference.segmenting import predict_segments as predict
    elif "budget" in config:
        from vintk_jax.adaptive.adaptive_inference import predict_adaptively as predict
    else:
        from vintk_jax.inference.fixed_lengths import predict_at_lengths as predict
    try:
        with FileLock(workdir / ".infer.lock", timeout=0):
            predict(invocation, console)
    except Timeout as error:
        raise UserError(f"Another process predicts in {workdir}. Wait for it.") from error
    except KeyboardInterrupt:
        console.print("\nStopped; what was predicted is kept. The same command goes on.")
        raise


if __name__ == "__main__":
    restart_with_large_pages()
    run(main)
