"""From a search's config to all that the search needs."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import ml_collections
import numpy as np
from jaxtyping import Float

from vintk_jax import multiply_adds, proxies, spaces
from vintk_jax.data.identity import of_arrays
from vintk_jax.errors import UserError
from vintk_jax.proxies import Proxy
from vintk_jax.proxies.scorer import Scorer
from vintk_jax.proxies.setup import described, load_images, make_supernet
from vintk_jax.searching.ledger import Ledger
from vintk_jax.searching.limits import Limits
from vintk_jax.searching.sampler import MOST_EXHAUSTIVE, TrialSampler
from vintk_jax.searching.storage import open_study
from vintk_jax.spaces import SearchSpace


@dataclasses.dataclass(frozen=True)
class Setup:
    """A search that may begin.

    Attributes:
        total: how many trials it has.
        images: the batch that candidates are scored on.
    """

    config: ml_collections.ConfigDict
    space: SearchSpace
    proxy: Proxy
    limits: Limits
    sampler: TrialSampler
    total: int
    images: Float[np.ndarray, "n *image 3"]

    @property
    def two_objectives(self) -> bool:
        """Whether multiply-adds are minimised beside the score."""
        return self.config.search.algorithm == "nsga2"

    def headline(self) -> str:
        """The search in words."""
        return (
            f"{self.config.search.algorithm} search of {self.space.name} "
            f"({self.space.size():.3g} architectures): {self.total:,} candidates by "
            f"{self.proxy.name} on {described(self.config, self.space)}, seed {self.config.seed}"
        )

    def definitions(self) -> dict[str, int]:
        """The number of the definition of everything that the search counts."""
        return {"multiply_adds": multiply_adds.DEFINITION, **proxies.definitions([self.proxy])}

    def identities(self) -> dict[str, str]:
        """What the results depend on beside the config."""
        return {"images": of_arrays(self.images)}

    def make_scorer(self) -> Scorer:
        """A scorer of the space on the images."""
        measurements = self.proxy.measurements
        supernet = make_supernet(self.config, self.space, measurements, self.images)
        return Scorer(supernet, measurements, batch_size=self.config.search.batch_size)

    def open_ledger(self, workdir: Path, digest: str) -> Ledger:
        """Begin the study, or join it.

        Args:
            digest: of the config; the study's name has it.

        Raises:
            UserError: for a storage that can't be opened, and one with more trials than were asked
                for.
        """
        search = self.config.search
        study, lock = open_study(
            workdir,
            search.storage,
            f"vintk_jax-search-{digest}",
            ["maximize", "minimize"] if self.two_objectives else ["maximize"],
            self.sampler,
        )
        ledger = Ledger(
            study,
            self.space,
            lock,
            total=self.total,
            generation=search.population if self.two_objectives else None,
            lease_s=search.lease_s,
            remote=bool(search.storage),
        )
        finished = len(ledger.finished())
        if finished > self.total:
            raise UserError(
                f"{workdir} holds {finished} finished trials; search.num_candidates={self.total} "
                "can be raised, not lowered."
            )
        return ledger


def set_up(config: ml_collections.ConfigDict, say: Callable[[str], None]) -> Setup:
    """Check what a config asks for, and load its images.

    Args:
        say: called with what there is to say about the images.

    Raises:
        UserError: for what can't be searched.
    """
    space = spaces.get(config.space)
    proxy = proxies.get(config.score.name)
    limits = Limits(**config.limits)
    if proxy.join:
        raise UserError(
            f"score.name={proxy.name} compares candidates with each other. It is known only once "
            "all are measured, so a search can't climb it. Choose another score; "
            "`python -m vintk_jax.rank` knows this one."
        )
    limits.check(space)
    exhaustive = config.search.algorithm == "exhaustive"
    if exhaustive and space.size() > MOST_EXHAUSTIVE:
        raise UserError(
            f"Expected a space of at most {MOST_EXHAUSTIVE:,} architectures for "
            f"search.algorithm=exhaustive, got {space.name} with {space.size():,}. "
            "Use random or nsga2, or a smaller space."
        )

    def fits(arch) -> bool:
        return limits.fits(space, arch)

    sampler = TrialSampler(
        space, config.search.algorithm, config.seed, fits, config.search.population
    )
    total = config.search.num_candidates
    if exhaustive:
        total = min(total, sampler.num_exhaustive())
    images = load_images(config, space, say)
    return Setup(config, space, proxy, limits, sampler, total, images)
