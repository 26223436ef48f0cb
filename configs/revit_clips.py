"""A Resizable TimeSformer on the embedded clips: digits that move over photographs, the class is their direction. No download.

    python -m vintk_jax.train --config configs/revit_clips.py
    python -m vintk_jax.train --config configs/revit_clips.py --config.clips.attention=space       # what frames say one at a time

Lengths shorten time, space or both: 8 frames of 4 x 4 tokens, 4 of 4 x 4, 4 of 2 x 2, 2 of 2 x 2.
"""

import ml_collections

from vintk_jax.defaults.clips import clips


def get_config() -> ml_collections.ConfigDict:
    """The defaults of a video training."""
    config = clips()
    config.optimizer.epochs = 10.0  # passes over the 12,000 clips
    return config
