"""Inputs that nothing can be measured on end in one message."""

import numpy as np
import pytest

from configs.vit_space import get_config
from vintk_jax import spaces
from vintk_jax.errors import UserError
from vintk_jax.proxies.setup import load_images

SPACE = spaces.get("autoformer-tiny")


@pytest.mark.parametrize(
    ("pixels", "words"),
    [
        (np.full((6, 32, 32, 3), 7), "all alike"),
        (np.broadcast_to(np.arange(32)[:, None], (6, 32, 32)), "all alike"),
        (np.broadcast_to(np.arange(6)[:, None, None, None], (6, 32, 32, 3)), "a single colour"),
    ],
    ids=["black", "one picture", "colours"],
)
def test_inputs_that_do_not_differ(tmp_path, pixels, words):
    """Copies of one picture, and pictures without any edge."""
    np.savez(tmp_path / "x.npz", images=pixels.astype(np.uint8))
    config = get_config("")
    config.inputs.update(source=f"npz:{tmp_path / 'x.npz'}", num_images=4, image_size=32)
    with pytest.raises(UserError, match=words):
        load_images(config, SPACE, print)


def test_photographs_differ():
    """The default."""
    config = get_config("")
    config.inputs.update(num_images=4, image_size=32)
    assert load_images(config, SPACE, print).shape == (4, 32, 32, 3)
