"""A training of a segmenter: the fields of a training, and a section of its own."""

import ml_collections

from vintk_jax.defaults.training import training


def segmentation() -> ml_collections.ConfigDict:
    """The fields of `vintk_jax.train` for classes of pixels, set for the embedded digits with their
    masks (our choices, by trying).
    """
    config = training()
    # digits (no download), pairs:PATH of images and maps of labels, npz:PATH, tfds:NAME
    config.data.source = "digits"
    config.data.image_size = 32  # pixels a side of what is trained on; larger pictures are cut
    config.model.lengths = (8,)  # tokens a side of such a square; one number
    config.loss.distill = 0.0  # has no meaning here

    config.segmentation = ml_collections.ConfigDict()
    # linear, mask (a transformer over tokens and classes) or conv (several levels); model.arch
    # brings its own
    config.segmentation.decoder = "mask"
    config.segmentation.mask_depth = 1  # blocks of the mask decoder
    config.segmentation.conv_width = 32  # channels of the convolutional one
    # values in the maps that are classes, in the classes' order; (): 0, 1, 2, ... up to the largest
    config.segmentation.labels = ()
    config.segmentation.ignore = (255,)  # values of pixels that are neither learned nor measured
    config.segmentation.names = ()  # of the classes
    # the least and the largest factor by which a training picture is resized before it is cut
    config.segmentation.scale = (1.0, 1.0)
    # the picture as it is (whole), or square windows of it, averaged (sliding)
    config.segmentation.evaluation = "whole"
    # pixels of the pictures that are measured on (larger ones are resized, smaller ones get a
    # border); 0: the square
    config.segmentation.height = 0
    config.segmentation.width = 0  # likewise
    return config
