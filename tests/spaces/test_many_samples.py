"""Counts of 200 members of every space: minutes for each, so that workers share them
(tests/conftest.py).
"""

import pytest
from test_every_space import SPACES, sample

from vintk_jax.spaces import promises


@pytest.mark.slow
@pytest.mark.parametrize("space", SPACES, ids=lambda space: space.name)
def test_parameters_of_200_samples(space):
    """Counted parameters are those of the initialised model, for 200 members."""
    promises.counts(space, [sample(space, seed) for seed in range(200)], flops=False)
