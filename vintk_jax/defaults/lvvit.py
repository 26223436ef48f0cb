"""What makes an LV-ViT of a training's ViT."""

import ml_collections


def as_lvvit(config: ml_collections.ConfigDict, teacher: str) -> ml_collections.ConfigDict:
    """A training with a narrow stem and a classifier of patches, which `teacher`, the workdir of
    another training, labels.

    Residuals stay as they are: the published models halve them from 16 blocks on.
    """
    config.model.stem_width = 16
    config.model.aux_head = True
    config.loss.teacher = teacher
    return config
