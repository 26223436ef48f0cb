"""What a training learns: classes of images, of pixels, or of clips.

Each kind of training is one file: its sources, transforms, predictions, and where it isn't shared,
its model and objective. Everything else is the same loop (`training.loop`).
"""

import ml_collections

from vintk_jax.tasks import classification, clips, segmentation
from vintk_jax.tasks.base import Kind

_BY_SECTION = {kind.name: kind for kind in (segmentation.KIND, clips.KIND)}


def kind_of(config: ml_collections.ConfigDict) -> Kind:
    """The kind of a training's config. A section of its own says so; without one, images are
    classified.
    """
    for section, kind in _BY_SECTION.items():
        if section in config:
            return kind
    return classification.KIND
