"""A workdir of a model with other people's weights: `python -m vintk_jax.weights --config
configs/weights.py --config.weights=deit_small.pth`.

Sizes are read from the file. `infer` and `assign` then take the workdir as if the model had been
trained there. To train on from such weights, give `vintk_jax.train` --config.model.weights instead.
docs/weights.md says which files are known.
"""

import functools

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.errors import UserError
from vintk_jax.jax_settings import set_up_training
from vintk_jax.workdir.config_claims import claim_workdir


@command("weights", about=__doc__, default_config="configs/weights.py")
def main(invocation: Invocation) -> None:
    """Write the workdir."""
    config = invocation.config
    workdir = invocation.workdir
    set_up_training(invocation.compile_cache)

    from vintk_jax.report.console import make_console
    from vintk_jax.tasks import kind_of
    from vintk_jax.tasks.architecture import keep_arch
    from vintk_jax.weights import files, load, rules
    from vintk_jax.weights.mismatch import check_parts
    from vintk_jax.weights.sizes import Sizes, training_config
    from vintk_jax.weights.workdir import class_names, write_checkpoints

    console = make_console()
    if not config.weights:
        raise UserError("Expected a file of weights, got none. Name it: --config.weights=PATH.")
    opened = files.open_weights(config.weights, config.averaged)
    scheme = load.scheme_of(opened)
    check_parts(opened)
    if scheme.supernet and not config.arch:
        raise UserError(
            f"{opened.path} is a supernet; which architecture of it? --config.arch=best.json, a "
            "file with space and arch."
        )
    sizes = Sizes.of(rules.mapped(opened, scheme, 0))
    training = training_config(config, sizes)
    classes = class_names(config.classes, opened.described, sizes.num_classes)
    spec = kind_of(training).build(training, len(classes))
    model = spec.model
    console.print(
        f"{scheme.title}: a {type(model).__name__} of {model.embed_dim} columns, "
        f"{model.num_blocks} blocks, {model.num_heads[0]} heads, {sizes.num_classes} classes; "
        f"{training.data.image_size} px, token lengths {', '.join(spec.names)}",
        soft_wrap=True,
    )
    params = load.load_weights(
        opened.path,
        model,
        pixels=config.pixels,
        averaged=config.averaged,
        say=functools.partial(console.print, style="yellow"),
    )
    if invocation.dry_run:
        console.print("A dry run: nothing was written.")
        return
    claim_workdir(workdir, "train", training, ())
    keep_arch(training.model, workdir)
    if write_checkpoints(workdir, spec, params, classes):
        console.print(
            f"{workdir} held other weights, or other names of classes; they were replaced.",
            style="yellow",
            soft_wrap=True,
        )
    kind = "clips:PATH" if sizes.attention else "images:FOLDER"
    source = "" if config.data.source else f" --config.data.source={kind}"
    console.print(
        "Predict with it: python -m vintk_jax.infer --config configs/infer.py --workdir "
        f"{workdir}{source}",
        soft_wrap=True,
    )


if __name__ == "__main__":
    run(main)
