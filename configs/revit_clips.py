"""A Resizable TimeSformer on the embedded clips: digits that move over photographs, the class is
their direction. No download.

    python -m vintk_jax.train --config configs/revit_clips.py
    # what frames say one at a time
    python -m vintk_jax.train --config configs/revit_clips.py --config.clips.attention=space

Lengths shorten time: 8, 4 or 2 frames of 2 x 2 tokens. Space and time: --config.clips.lengths="((8,
4), (4, 2), (2, 2))", at twice the cost. docs/video.md has time and accuracy.
"""

import ml_collections

from vintk_jax.defaults.clips import clips


def get_config() -> ml_collections.ConfigDict:
    """The defaults of a video training."""
    config = clips()
    config.clips.lengths = ((8, 2), (4, 2), (2, 2))
    config.optimizer.epochs = 7.0
    config.checkpoints.every_epochs = 1.75
    return config
