"""The kernel by layer as bars: shares of the trace by block and kind."""

import numpy as np
import pytest

from vintk_jax.report.layer_shares import shares_by_block


def kernel(trace):
    return np.diag([trace / 2, trace / 2])


def test_unrolled_blocks():
    """Eight in all: three and one of the first block, two of the second, two outside."""
    names, shares = shares_by_block(
        {
            "patch_embed": kernel(1.0),
            "head": kernel(1.0),
            "block_0/attention/qkv": kernel(3.0),
            "block_0/norm1": kernel(1.0),
            "block_1/mlp/fc1": kernel(2.0),
        }
    )
    assert names == ["1", "2", "outside"]
    assert shares == {"qkv": [3 / 8, 0, 0], "fc1": [0, 2 / 8, 0], "other": [1 / 8, 0, 2 / 8]}


def test_scanned_stages_without_their_dead_blocks():
    """Blocks of two stages run one after another; one that masks have switched off is left out."""
    names, shares = shares_by_block(
        {
            "stage_1/blocks/block/mlp/fc2": np.stack([kernel(1.0), kernel(2.0)]),
            "stage_0/blocks/block/mlp/fc2": np.stack([kernel(5.0), kernel(0.0)]),
        }
    )
    assert names == ["1", "2", "3"]
    assert shares["fc2"] == pytest.approx([5 / 8, 1 / 8, 2 / 8])
