"""A training of a video model: the fields of a training, and a section of its own."""

import ml_collections

from vintk_jax.defaults.training import training


def clips() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train` for clips, set for the embedded moving digits (our choices,
    by trying).
    """
    config = training()
    # digits (moving, no download), clips:PATH of class folders, npz:PATH, tfds:NAME
    config.data.source = "digits"
    config.model.lengths = ()  # has no meaning here: clips.lengths

    config.clips = ml_collections.ConfigDict()
    config.clips.frames = 8  # frames of a clip that the model is shown at most
    # frames of the video that these are spread over, from a random start (the middle when
    # measured); 0: all of it
    config.clips.stretch = 0
    # stretches from a clip's start to its end whose answers are averaged where it is only looked
    # at; 1: the middle
    config.clips.views = 1
    # squares along the longer side of each, averaged likewise; 1: the centre
    config.clips.crops = 1
    # (frames, tokens a side) of each length, the most tokens first
    config.clips.lengths = ((8, 4), (4, 4), (4, 2), (2, 2))
    # over time, then over space (divided); joint; space: within frames only
    config.clips.attention = "divided"
    return config
