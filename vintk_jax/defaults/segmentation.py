"""A training of a segmenter: the fields of a training, and a section of its own."""

from dataclasses import replace

import ml_collections

from vintk_jax.defaults.field import Field, filled, unused
from vintk_jax.defaults.rules import (
    CHECKED_WHERE_USED,
    COUNT,
    COUNT_OR_ZERO,
    PIXEL_VALUES,
    choice,
    number,
    several,
)
from vintk_jax.defaults.training import AUGMENT, TRAINING

# A segmenter's pictures are only resized, cut and mirrored; `train` refuses the others.
_OTHER_AUGMENT = [name for name in AUGMENT if name != "augment.flip"]

SEGMENTATION = {
    **TRAINING,
    **unused(TRAINING, *_OTHER_AUGMENT),
    **unused(
        TRAINING,
        "data.crop_ratio",
        "model.pool",
        "model.regions",
        "model.stem_width",
        "model.stem_sides",
        "model.residual_scale",
        "model.aux_head",
        "model.patch_size",
        "model.separate_norms",
        "model.scan",
        "model.weights",
        "model.weights_head",
        "model.weights_pixels",
        "model.weights_averaged",
        "loss.teacher",
        "loss.token_weight",
    ),
    "data.source": replace(
        TRAINING["data.source"],
        meaning="digits (no download), pairs:PATH of images and maps of labels, npz:PATH, "
        "tfds:NAME",
    ),
    "data.image_size": replace(
        TRAINING["data.image_size"],
        meaning="pixels a side of the squares that are trained on; larger pictures are cut",
    ),
    "model.lengths": replace(
        TRAINING["model.lengths"],
        default=(8,),
        meaning="tokens a side of a square that is trained on; one number",
    ),
    "loss.distill": replace(TRAINING["loss.distill"], default=0.0, used=False),
    "segmentation.decoder": Field(
        "mask",
        "linear, mask (a transformer over tokens and classes) or conv (convolutions of several "
        "levels); model.arch brings its own",
        choice("linear", "mask", "conv"),
    ),
    "segmentation.mask_depth": Field(1, "blocks of the mask decoder", COUNT),
    "segmentation.conv_width": Field(32, "channels of the convolutional decoder", COUNT),
    "segmentation.labels": Field(
        (),
        "values in the maps that are classes, in the classes' order; (): 0, 1, 2, ... up to the "
        "largest",
        PIXEL_VALUES,
    ),
    "segmentation.ignore": Field(
        (255,), "values of pixels that are neither learned nor measured", PIXEL_VALUES
    ),
    "segmentation.names": Field((), "names of the classes", CHECKED_WHERE_USED),
    "segmentation.scale": Field(
        (1.0, 1.0),
        "the least and the largest factor by which a training picture is resized before it is cut",
        several(number(0.01), "factors", least=2, ascending=True),
    ),
    "segmentation.evaluation": Field(
        "whole",
        "what is measured on: the picture as it is (whole), or square windows of it, averaged "
        "(sliding)",
        choice("whole", "sliding"),
    ),
    "segmentation.height": Field(
        0,
        "pixels of the pictures that are measured on (larger ones are resized, smaller ones get a "
        "border); 0: the square's",
        COUNT_OR_ZERO,
    ),
    "segmentation.width": Field(0, "like height", COUNT_OR_ZERO),
}


def segmentation() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train` for classes of pixels, set for the embedded digits with their
    masks (our choices, by trying).
    """
    return filled(SEGMENTATION)
