"""Which architecture trial k is: a function of (seed, k, the finished generations) alone.

Optuna keeps no random state in its storage, so a resumed or shared study would draw other
candidates than an undisturbed one. Here every trial draws from a generator of its own, seeded by
(seed, k), and draws all its parameters at once. NSGA-II's children come from the parents of
finished generations only, since a generation ends before the next begins (`ledger`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler
from optuna.trial import FrozenTrial, TrialState

from vintk_jax.errors import UserError
from vintk_jax.spaces import SearchSpace

ALGORITHMS = ("random", "nsga2", "exhaustive")  # also in defaults.search
MOST_EXHAUSTIVE = 100_000
_DRAWS = 20_000
_CHILDREN = 20


class TrialSampler(BaseSampler):
    """Optuna sampler for one space; see the module's docstring.

    Args:
        algorithm: one of `ALGORITHMS`.
        fits: whether an architecture keeps the limits that need no measuring.
        population: trials a generation, for nsga2.

    Raises:
        UserError: for another algorithm.
    """

    def __init__(
        self,
        space: SearchSpace,
        algorithm: str,
        seed: int,
        fits: Callable[[Any], bool],
        population: int,
    ):
        if algorithm not in ALGORITHMS:
            raise UserError(
                f"Expected search.algorithm to be one of {', '.join(ALGORITHMS)}, got "
                f"{algorithm!r}."
            )
        self._space = space
        self._algorithm = algorithm
        self._seed = seed
        self._fits = fits
        self._population = population
        self._decoded: dict[int, Any] = {}
        self._all: list[Any] = []
        if algorithm == "exhaustive":
            self._all = [arch for arch in space.enumerate() if fits(arch)]

    def num_exhaustive(self) -> int:
        """How many architectures an exhaustive search has."""
        return len(self._all)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All decisions of the space."""
        return {
            name: CategoricalDistribution(options)
            for name, options in self._space.choices().items()
        }

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters of a trial, in one draw."""
        rng = np.random.default_rng([self._seed, trial.number])
        if self._algorithm == "exhaustive":
            return self._space.encode(self._all[trial.number])
        if self._algorithm == "nsga2" and trial.number >= self._population:
            return self._child(study, trial, search_space, rng)
        return self._space.encode(self._feasible(rng))

    def sample_independent(self, study, trial, param_name, param_distribution):
        """Never needed: `sample_relative` gives every parameter."""
        raise NotImplementedError(f"{param_name} is not a decision of {self._space.name}")

    def _feasible(self, rng: np.random.Generator) -> Any:
        for _ in range(_DRAWS):
            arch = self._space.sample(rng)
            if self._fits(arch):
                return arch
        raise UserError(
            f"None of {_DRAWS:,} random architectures of {self._space.name} is within the limits. "
            "Raise limits.* a little."
        )

    def _child(
        self, study, trial, search_space: Mapping[str, BaseDistribution], rng: np.random.Generator
    ) -> dict[str, Any]:
        """A child of the last generation that keeps the limits and is new, or after some tries one
        that isn't.
        """
        generation_start = trial.number // self._population * self._population
        for old in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
            if old.number < generation_start and old.number not in self._decoded:
                self._decoded[old.number] = self._space.decode(old.params)
        known = set(self._decoded.values())
        several = {name: d for name, d in search_space.items() if not d.single()}
        for _ in range(_CHILDREN):
            parent = NSGAIISampler(population_size=self._population, seed=int(rng.integers(2**31)))
            inherited = parent.sample_relative(study, trial, several)
            chosen = {
                name: inherited.get(name, d.choices[rng.integers(len(d.choices))])
                for name, d in search_space.items()
            }
            arch = self._space.decode(chosen)
            if self._fits(arch) and arch not in known:
                break
        return self._space.encode(arch)
