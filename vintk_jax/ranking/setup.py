"""From a ranking's config to its table, its proxies and what scores them."""

import dataclasses
from collections.abc import Callable

import ml_collections
import numpy as np
from jaxtyping import Float

from vintk_jax import multiply_adds
from vintk_jax.config_digest import with_seed
from vintk_jax.data.identity import of_arrays
from vintk_jax.errors import UserError
from vintk_jax.proxies import Measurement, Proxy, definitions, get, names
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.setup import described, load_images, make_supernet
from vintk_jax.ranking import tables
from vintk_jax.ranking.tables import Table


@dataclasses.dataclass(frozen=True)
class Setup:
    """A ranking that may begin.

    Attributes:
        images: the batch that architectures are scored on, of the first seed.
    """

    config: ml_collections.ConfigDict
    table: Table
    proxies: list[Proxy]
    images: Float[np.ndarray, "n *image 3"]

    @property
    def measurements(self) -> list[Measurement]:
        """What the proxies need, each once."""
        by_name = {}
        for proxy in self.proxies:
            by_name |= {measurement.name: measurement for measurement in proxy.measurements}
        return list(by_name.values())

    def headline(self) -> str:
        """The ranking in words."""
        further_seeds = self.config.seeds - 1
        return (
            f"{len(self.proxies)} proxies on {len(self.table.archs):,} architectures of "
            f"{self.table.name} ({self.table.space.name}), "
            f"{described(self.config, self.table.space)}, seed {self.config.seed}"
            f"{f' and {further_seeds} after it' if further_seeds else ''}"
        )

    def definitions(self) -> dict[str, int]:
        """The number of the definition of everything that is counted."""
        return {"multiply_adds": multiply_adds.DEFINITION, **definitions(self.proxies)}

    def identities(self) -> dict[str, str]:
        """What the results depend on beside the config."""
        return {"images": of_arrays(self.images)}

    def make_scorers(self, seed: int) -> dict[str, Scorer]:
        """A scorer for each group of measurements, by the group's name.

        Args:
            seed: counted from the config's. It draws inputs, features, weights and directions.
        """
        config = with_seed(self.config, self.config.seed + seed)
        images = self.images
        if seed != 0:
            images = load_images(config, self.table.space, _ignore)
        supernet = make_supernet(config, self.table.space, self.measurements, images)
        groups: dict[str, list[Measurement]] = {}
        for measurement in self.measurements:
            groups.setdefault(measurement.group, []).append(measurement)
        return {
            name: Scorer(supernet, group, batch_size=config.batch_size)
            for name, group in groups.items()
        }


def _ignore(note: str) -> None:
    """What there is to say of the images was said for the first seed."""


def set_up(config: ml_collections.ConfigDict, say: Callable[[str], None]) -> Setup:
    """Check what a config asks for, read the table, and load the images.

    Args:
        say: called with what there is to say about the images.

    Raises:
        UserError: for what can't be ranked.
    """
    chosen = _chosen(config.proxies)
    table = tables.load(config.table, config.num_architectures, config.seed)
    if config.seeds < 1:
        raise UserError(f"Expected seeds of 1 at least, got {config.seeds}.")
    return Setup(config, table, chosen, load_images(config, table.space, say))


def _chosen(listed: str) -> list[Proxy]:
    """The proxies of a comma-separated list, each once."""
    chosen = [name.strip() for name in listed.split(",") if name.strip()]
    if chosen == ["all"]:
        chosen = names()
    if not chosen:
        raise UserError(
            f"Expected proxies to be all, or some of {', '.join(names())}, got {listed!r}."
        )
    return [get(name) for name in dict.fromkeys(chosen)]
