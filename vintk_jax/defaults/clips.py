"""A training of a video model: the fields of a training, and a section of its own."""

from dataclasses import replace

import ml_collections

from vintk_jax.defaults.field import Field, filled, unused
from vintk_jax.defaults.rules import CHECKED_WHERE_USED, COUNT, COUNT_OR_ZERO, choice
from vintk_jax.defaults.training import TRAINING

CLIPS = {
    **TRAINING,
    **unused(
        TRAINING,
        "model.pool",
        "model.regions",
        "model.stem_width",
        "model.stem_sides",
        "model.residual_scale",
        "model.aux_head",
        "loss.teacher",
        "loss.token_weight",
    ),
    "data.source": replace(
        TRAINING["data.source"],
        meaning="digits (moving, no download), clips:PATH of class folders, npz:PATH, tfds:NAME",
    ),
    # clips.lengths takes its place.
    "model.lengths": replace(TRAINING["model.lengths"], default=(), used=False),
    "clips.frames": Field(8, "frames of a clip that the model is shown at most", COUNT),
    "clips.stretch": Field(
        0,
        "frames of the video that these are spread over, from a random start (in a test the "
        "middle); 0: all of it",
        COUNT_OR_ZERO,
    ),
    "clips.views": Field(
        1,
        "stretches from a clip's start to its end whose answers are averaged in a test; 1: the "
        "middle one",
        COUNT,
    ),
    "clips.crops": Field(
        1,
        "squares along the longer side of each view whose answers are averaged in a test; 1: the "
        "centre",
        COUNT,
    ),
    "clips.lengths": Field(
        ((8, 4), (4, 4), (4, 2), (2, 2)),
        "(frames, tokens a side) of each length, the most tokens first",
        CHECKED_WHERE_USED,
    ),
    "clips.attention": Field(
        "divided",
        "over time and then over space (divided), over both at once (joint), or within frames "
        "only (space)",
        choice("divided", "joint", "space"),
    ),
}


def clips() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train` for clips, set for the embedded moving digits (our choices,
    by trying).
    """
    return filled(CLIPS)
