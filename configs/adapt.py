"""From a folder of images to a model that gives each image its own number of tokens, in one run.

    python -m vintk_jax.adapt --config configs/adapt.py
    python -m vintk_jax.adapt --config configs/adapt.py \
      --config.data.source=folder:PATH --config.time_h=2 --workdir runs/mine

Searches an architecture on the images, trains it at several token lengths, learns which image
needs which length, compares, exports, and writes adapt.html. Sizes are chosen from the images and
the time that is allowed; --dry-run shows them. The first command takes the embedded digits.
"""

import ml_collections

from vintk_jax.defaults.adapt import adapt


def get_config() -> ml_collections.ConfigDict:
    """The embedded digits, in five minutes."""
    return adapt()
