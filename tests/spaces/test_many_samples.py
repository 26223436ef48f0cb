"""Counts of many members of every space: minutes for all, so that workers share them
(tests/conftest.py).
"""

import pytest
from test_every_space import SPACES, sample
from trees import name_of

from vintk_jax.spaces import conformance


def with_every_option(space):
    """Samples that between them have every option of every decision, each beside every option of
    the first (a width, mostly).
    """
    archs = []
    met = set()
    choices = space.choices()
    first = next(iter(choices))
    for seed in range(2000):
        arch = sample(space, seed)
        chosen = space.encode(arch)
        new = {(chosen[first], name, option) for name, option in chosen.items()} - met
        if new:
            archs.append(arch)
            met |= new
    for name, options in choices.items():
        for option in options:
            beside = {mine for mine, other, its in met if (other, its) == (name, option)}
            assert beside == ({option} if name == first else set(choices[first])), (name, option)
    return archs


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=name_of)
def test_parameters_of_many_samples(space):
    """Counted parameters are those of the initialised model."""
    conformance.counts(space, with_every_option(space), flops=False)
