"""Counts of 200 members of every space: a file of its own, so that another worker has it."""

import pytest
from test_every_space import each_space, sample

from vintk_jax.spaces import promises


@each_space
@pytest.mark.slow
def test_parameters_of_200_samples(space):
    """Counted parameters are those of the initialised model, for 200 members."""
    promises.counts(space, [sample(space, seed) for seed in range(200)], flops=False)
