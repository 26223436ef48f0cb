"""Counts of blocks: by hand, by published values, and by the matrices that they stand for."""

import math

import numpy as np
import pytest

from vintk_jax import proxies, spaces
from vintk_jax.proxies import block_counts
from vintk_jax.spaces.block_shapes import BlockShape, Heads

TINY = spaces.get("autoformer-tiny")
ARCH = TINY.from_json(
    {"embed_dim": 192, "depth": 12, "num_heads": [3, 4] * 6, "mlp_ratio": [3.5, 4] * 6}
)


def score(name):
    (measurement,) = proxies.get(name).measurements
    return measurement.function(TINY, ARCH)


def test_counts_by_hand():
    """Twelve blocks, all 192 wide; six MLPs are 672 wide, six 768."""
    assert score("width_depth") == 12 * 192
    assert score("root_width") == pytest.approx(12 * math.sqrt(192))
    assert score("log_hidden") == pytest.approx(6 * math.log(672) + 6 * math.log(768))
    both = block_counts.width_ratio(2.0, 0.5)(TINY, ARCH)
    assert both == pytest.approx(192**2 * (6 * math.sqrt(3.5) + 6 * 2))


def test_published_capacity():
    """Two blocks of width 128 with four heads and MLPs of 256 and 512, entries of deviation 0.02:
    121.820169804 (a course on the paper, which computed it by quadrature).
    """
    blocks = [BlockShape(128, hidden, (Heads(4, 32),)) for hidden in (256, 512)]

    def deviation(rows, columns):
        return 0.02

    capacity = sum(block_counts.nsc_of_block(block, deviation) for block in blocks)
    assert capacity == pytest.approx(121.820169804, abs=1e-8)


@pytest.mark.parametrize(("rows", "columns"), [(192, 64), (64, 192), (256, 256), (192, 768)])
def test_capacity_of_a_matrix(rows, columns):
    """It is ln det(I + W'W) of a matrix drawn as Xavier has it."""
    deviation = math.sqrt(2 / (rows + columns))
    w = deviation * np.random.default_rng(0).standard_normal((rows, columns))
    measured = np.linalg.slogdet(np.eye(columns) + w.T @ w)[1]
    assert block_counts.spectral_capacity(rows, columns, deviation) == pytest.approx(
        measured, rel=1e-2
    )


def test_capacity_counts_heads():
    """More and narrower heads of one total width have more, which a count of parameters can't
    see.
    """
    few, many = (BlockShape(192, 768, (Heads(k, 192 // k),)) for k in (3, 12))
    assert block_counts.nsc_of_block(many) > block_counts.nsc_of_block(few)
