"""The README's picture, from a finished search: `python -m benchmarks.picture runs/vit_space
docs/search.png`.
"""

import argparse
import json
from pathlib import Path

import jax

from vintk_jax import proxies, spaces
from vintk_jax.data import inputs
from vintk_jax.ntk import reductions
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.supernet import KernelSettings, Supernet, needed_views, views
from vintk_jax.report.search_picture import write_search_picture
from vintk_jax.searching import results


def main() -> None:
    """Read the workdir, compute the winner's kernels once more, draw."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workdir", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    config = json.loads((arguments.workdir / "search.config.json").read_text())

    def section(name):
        return {k.split(".")[1]: v for k, v in config.items() if k.startswith(f"{name}.")}

    candidates = results.read(arguments.workdir)
    best = json.loads((arguments.workdir / "best.json").read_text())
    front = json.loads((arguments.workdir / "pareto.json").read_text())["candidates"]
    space = spaces.get(config["space"])
    seed = config["seed"]
    images = inputs.load(
        config["inputs.source"], config["inputs.num_images"], config["inputs.image_size"], seed
    ).images
    measurements = proxies.get(config["score.name"]).measurements
    batches = views(images, needed_views(measurements), jax.random.key(seed), **section("fourier"))
    scorer = Scorer(
        Supernet(space, batches, KernelSettings(**section("ntk")), seed=seed), measurements
    )
    measured = scorer.measure([space.from_json(best["arch"])])[0][0]
    kernels = [m.name for m in measurements if m.of == "kernel" and not m.stem]
    write_search_picture(
        arguments.picture,
        candidates=candidates,
        pareto=[c["number"] for c in front],
        spectra={view: reductions.spectrum(measured[view]).tolist() for view in kernels},
        arch=best["arch"],
        title=f"{space.name}: {len(candidates):,} architectures, none trained",
    )


if __name__ == "__main__":
    main()
