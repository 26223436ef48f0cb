"""Predict with a trained model: `python -m vintk_jax.infer --config configs/infer.py --workdir runs/revit_digits`.

Runs every image at each token length asked for, with patch kernel and positions resampled once, writes predictions.jsonl to the workdir of the
training, and prints accuracy and images a second where there are labels.
"""

import sys

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_training, use_large_pages


def main(argv: list[str]) -> None:
    """Predict from a command line."""
    invocation = configs.parse(argv, command="infer", about=__doc__, default_config="configs/infer.py")
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    train_config = configs.read_claimed(workdir, "train")
    if config.checkpoint not in ("best", "last"):
        raise UserError(f"checkpoint={config.checkpoint!r} came; best or last was wanted.")
    set_up_training()

    from rich.console import Console

    from vintk_jax.data.sources import open_source
    from vintk_jax.inference.predictor import Predictor
    from vintk_jax.inference.run import predict_source
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.train_table import speed_table

    console = Console()
    predictor = Predictor.load(workdir, train_config, config.checkpoint, lambda note: console.print(note, style="yellow"))
    names = predictor.choose(tuple(config.lengths))
    source = open_source(config.data.source or train_config.data.source, config.data.split or train_config.data.test_split)
    if source.classes and source.classes != predictor.classes:
        raise UserError(f"The images have {len(source.classes)} classes, the model {len(predictor.classes)}; the same were wanted.")
    console.print(
        f"{len(source):,} images at {', '.join(names)} tokens, batches of {config.data.batch_size}, into {workdir / 'predictions.jsonl'}"
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    configs.write_json(workdir / "infer.config.json", dict(configs.fields(config)))
    with Progress(len(source) * len(names), unit="images", console=console) as progress:
        found = predict_source(predictor, names, source, config.data.batch_size, workdir / "predictions.jsonl", progress)
    console.print(speed_table(found))


if __name__ == "__main__":
    use_large_pages()
    configs.run(main, sys.argv)
