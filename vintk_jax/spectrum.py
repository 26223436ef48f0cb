"""Which frequencies a kernel sees: `python -m vintk_jax.spectrum --config configs/spectrum.py`.

The first paper's claim, made visible: the NTK's leading eigenvectors hold targets of low frequency;
Fourier features of the inputs move that. Beside the kernels stands what a really trained network
learns of each frequency. Writes spectrum.json, spectrum.png, spectrum.html.
"""

from vintk_jax.command_line import Invocation, command, run
from vintk_jax.defaults.field import fields
from vintk_jax.errors import UserError
from vintk_jax.files import write_json
from vintk_jax.jax_settings import set_up_jax
from vintk_jax.workdir.config_claims import claim_workdir

_POSITIVE = (
    "num_draws",
    "model.embed_dim",
    "model.depth",
    "model.num_heads",
    "signals.num_images",
    "kernel.num_directions",
    "kernel.top",
    "train.steps",
)
_VIEWS = ("plain", "fourier")


def _check(config) -> None:
    values = dict(fields(config))
    for name in _POSITIVE:
        if values[name] < 1:
            raise UserError(f"Expected {name} of 1 at least, got {values[name]}.")
    if config.model.embed_dim % config.model.num_heads:
        raise UserError(
            f"Expected model.embed_dim to be a multiple of model.num_heads="
            f"{config.model.num_heads}, got {config.model.embed_dim}."
        )
    if config.model.patch_size < 1 or config.signals.image_size % config.model.patch_size:
        raise UserError(
            f"Expected signals.image_size to be a multiple of model.patch_size="
            f"{config.model.patch_size}, got {config.signals.image_size}."
        )
    if config.kernel.top >= config.signals.num_images:
        raise UserError(
            f"Expected kernel.top below signals.num_images={config.signals.num_images}, got "
            f"{config.kernel.top}."
        )


@command("spectrum", about=__doc__, default_config="configs/spectrum.py")
def main(invocation: Invocation) -> None:
    """Run both experiments."""
    config = invocation.config
    workdir = invocation.workdir
    _check(config)
    set_up_jax("float32", invocation.compile_cache)

    from vintk_jax.report.console import make_console

    console = make_console()
    experiments = _signals(config)
    total = len(experiments) * len(_VIEWS) * config.num_draws
    console.print(
        f"{total} kernels and trainings: {len(experiments)} experiments, views "
        f"{' and '.join(_VIEWS)}, into {workdir}"
    )
    if invocation.dry_run:
        console.print(
            "A dry run: nothing was computed. On two cores the default config takes a few minutes; "
            "time grows with train.steps."
        )
        return
    claim_workdir(workdir, "spectrum", config, ())
    result = {
        "config": config.to_dict(),
        "experiments": _run(config, experiments, total, console),
    }
    _write(workdir, result, console)


def _signals(config) -> list:
    """Both experiments: frequencies of the target, frequencies of the image."""
    from vintk_jax.data import inputs
    from vintk_jax.spectral import frequencies

    fields = config.signals
    ends = inputs.load("photos", 2, fields.image_size, config.seed).images
    return [
        frequencies.path(ends, fields.num_images, fields.cycles),
        frequencies.bands(fields.image_size, fields.num_images, fields.band_edges, config.seed),
    ]


def _model_function(config):
    """A function (outputs) -> the network."""
    from vintk_jax.models.vit import ViT

    fields = config.model
    patches = config.signals.image_size // fields.patch_size

    def make_model(outputs):
        return ViT(
            embed_dim=fields.embed_dim,
            num_heads=(fields.num_heads,) * fields.depth,
            hidden=(4 * fields.embed_dim,) * fields.depth,
            head_dim=fields.embed_dim // fields.num_heads,
            num_classes=outputs,
            patch_size=fields.patch_size,
            native_grid=(patches, patches),
            pool="mean",
            scan=True,
        )

    return make_model


def _run(config, experiments: list, total: int, console) -> dict:
    """Results by experiment, with a bar of how many kernels and trainings are done."""
    import jax

    from vintk_jax.proxies.supernet import views
    from vintk_jax.report.progress import Progress
    from vintk_jax.spectral import experiment

    key = jax.random.key(config.seed)
    results = {}
    done = 0
    with Progress(total, done=0, console=console) as progress:
        progress.phase("compiling and running")

        def report(_: str) -> None:
            nonlocal done
            done += 1
            progress.update(done, None)

        for signals in experiments:
            results[signals.name] = experiment.run(
                signals,
                views(signals.images, _VIEWS, key, **config.fourier),
                _model_function(config),
                seeds=config.num_draws,
                key=key,
                directions=config.kernel.num_directions,
                top=config.kernel.top,
                steps=config.train.steps,
                learning_rate=config.train.learning_rate,
                report=report,
            )
    return results


def _write(workdir, result: dict, console) -> None:
    """The result as numbers, picture and page; its tables to the console."""
    from vintk_jax.report.spectrum_page import (
        spectrum_tables,
        write_spectrum_page,
        write_spectrum_picture,
    )

    write_json(workdir / "spectrum.json", result)
    write_spectrum_picture(workdir / "spectrum.png", result)
    write_spectrum_page(workdir / "spectrum.html", result)
    for table in spectrum_tables(result):
        console.print(table)
    console.print(
        f"Written to {workdir / 'spectrum.json'}; open {workdir / 'spectrum.html'} to see it."
    )


if __name__ == "__main__":
    run(main)
