"""Which frequencies a kernel sees: `python -m vintk_jax.spectrum --config configs/spectrum.py`.

The first paper's claim, made visible: the NTK's leading eigenvectors hold targets of low frequency;
Fourier features of the inputs move that. Beside the kernels stands what a really trained network
learns of each frequency. Writes spectrum.json, spectrum.png, spectrum.html.
"""

from vintk_jax import config as configs
from vintk_jax.errors import UserError
from vintk_jax.set_up import set_up_jax


def _check(config) -> None:
    wanted_positive = (
        "num_draws",
        "model.embed_dim",
        "model.depth",
        "model.num_heads",
        "signals.num_images",
        "kernel.num_directions",
        "kernel.top",
        "train.steps",
    )
    values = dict(configs.fields(config))
    for name in wanted_positive:
        if values[name] < 1:
            raise UserError(f"{name}={values[name]} came; 1 at least was wanted.")
    if config.model.embed_dim % config.model.num_heads:
        raise UserError(
            f"model.embed_dim={config.model.embed_dim} came; a multiple of "
            f"model.num_heads={config.model.num_heads} was wanted."
        )
    if config.model.patch_size < 1 or config.signals.image_size % config.model.patch_size:
        raise UserError(
            f"signals.image_size={config.signals.image_size} came; a multiple of "
            f"model.patch_size={config.model.patch_size} was wanted."
        )
    if config.kernel.top >= config.signals.num_images:
        raise UserError(
            f"kernel.top={config.kernel.top} came; fewer than "
            f"signals.num_images={config.signals.num_images} eigenvectors were wanted."
        )


def main(argv: list[str]) -> None:
    """Run both experiments from a command line."""
    invocation = configs.parse(
        argv, command="spectrum", about=__doc__, default_config="configs/spectrum.py"
    )
    if invocation is None:
        return
    config, workdir = invocation.config, invocation.workdir
    _check(config)
    set_up_jax("float32", invocation.compile_cache)

    import jax

    from vintk_jax.data import inputs
    from vintk_jax.models.vit import ViT
    from vintk_jax.proxies.supernet import views
    from vintk_jax.report.console import make_console
    from vintk_jax.report.progress import Progress
    from vintk_jax.report.spectrum_page import (
        spectrum_tables,
        write_spectrum_page,
        write_spectrum_picture,
    )
    from vintk_jax.spectral import experiment, signals

    console = make_console()
    size, count, model = config.signals.image_size, config.signals.num_images, config.model
    key = jax.random.key(config.seed)
    ends = inputs.load("photos", 2, size, config.seed).images
    both = [
        signals.path(ends, count, config.signals.cycles),
        signals.bands(size, count, config.signals.band_edges, config.seed),
    ]

    def make_model(outputs):
        return ViT(
            embed_dim=model.embed_dim,
            num_heads=(model.num_heads,) * model.depth,
            hidden=(4 * model.embed_dim,) * model.depth,
            head_dim=model.embed_dim // model.num_heads,
            num_classes=outputs,
            patch_size=model.patch_size,
            native_grid=(size // model.patch_size,) * 2,
            pool="mean",
            scan=True,
        )

    names = ("plain", "fourier")
    total = len(both) * len(names) * config.num_draws
    console.print(
        f"{total} kernels and trainings: {len(both)} experiments, views {' and '.join(names)}, "
        f"into {workdir}"
    )
    if invocation.dry_run:
        console.print(
            "A dry run: nothing was computed. On two cores the default config takes a few minutes; "
            "time grows with train.steps."
        )
        return
    configs.claim_workdir(workdir, "spectrum", config, ())
    result = {"config": config.to_dict(), "experiments": {}}
    with Progress(total, done=0, console=console) as progress:
        progress.phase("compiling and running")
        done = 0

        def report(_: str) -> None:
            nonlocal done
            done += 1
            progress.update(done, None)

        for signal in both:
            seen = views(signal.images, names, key, **config.fourier)
            result["experiments"][signal.name] = experiment.run(
                signal,
                seen,
                make_model,
                seeds=config.num_draws,
                key=key,
                directions=config.kernel.num_directions,
                top=config.kernel.top,
                steps=config.train.steps,
                learning_rate=config.train.learning_rate,
                report=report,
            )
    configs.write_json(workdir / "spectrum.json", result)
    write_spectrum_picture(workdir / "spectrum.png", result)
    write_spectrum_page(workdir / "spectrum.html", result)
    for table in spectrum_tables(result):
        console.print(table)
    console.print(
        f"Written to {workdir / 'spectrum.json'}; open {workdir / 'spectrum.html'} to see it."
    )


if __name__ == "__main__":
    configs.run(main)
