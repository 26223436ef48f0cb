"""What can't be adapted to, told ahead of the first step, with what would help."""

import shutil
from pathlib import Path

from vintk_jax.adapting.survey import LEAST_SIDE, MOST_PIXELS, Survey
from vintk_jax.errors import UserError, first_of

# Our choices: with fewer images of a class, what is held out says nothing of it; with more classes,
# the classifier is larger than the rest of a model that a small machine can train.
LEAST_OF_CLASS = 10
LEAST_TEST = 20
MOST_CLASSES = 2000


def refuse_unusable(survey: Survey) -> None:
    """Refuse images that no useful model can come of.

    Raises:
        UserError: naming the images or classes, and what would help.
    """
    where = survey.source
    if survey.broken:
        named = [f"{name} ({why})" for name, why in survey.broken.items()]
        raise UserError(
            f"{len(survey.broken):,} of the images of {where} can't be read: {first_of(named)}. "
            "Mend them, or move them out of the folder."
        )
    if survey.large:
        raise UserError(
            f"{len(survey.large):,} of the images of {where} have more than "
            f"{MOST_PIXELS / 1e6:.0f} million pixels: {first_of(survey.large)}. A training decodes "
            "each many times. Shrink them once, to 1,000 pixels a side, say (ImageMagick: "
            "mogrify -resize 1000x1000 FILES)."
        )
    if survey.small:
        raise UserError(
            f"{len(survey.small):,} of the images of {where} have fewer than {LEAST_SIDE} pixels a "
            f"side: {first_of(survey.small)}. Nothing can be seen in them. Take the originals, or "
            "move them out of the folder."
        )
    _refuse_classes(survey)
    if survey.counts["test"] < LEAST_TEST:
        raise UserError(
            f"{where} has {survey.counts['test']} images to measure on ({survey.test}); a figure "
            f"of so few means nothing. {LEAST_TEST} are the least, 1,000 are good: a tenth of the "
            "images is taken where there is no folder test/."
        )


def _refuse_classes(survey: Survey) -> None:
    where = survey.source
    if survey.classes < 2:
        raise UserError(
            f"{where} has images of {survey.classes} class, so there is nothing to tell apart. "
            "Expected a folder with a folder of images for each of two classes at least "
            "(PATH/cat/1.jpg, PATH/dog/1.jpg)."
        )
    if survey.classes > MOST_CLASSES:
        raise UserError(
            f"{where} has {survey.classes:,} classes; {MOST_CLASSES:,} are the most here. If the "
            "folders are persons or products, put them together by kind; else train from weights "
            "on an accelerator (python -m vintk_jax.train, docs/weights.md)."
        )
    few = [
        f"{name} ({count})"
        for name, count in sorted(survey.class_counts.items())
        if count < LEAST_OF_CLASS
    ]
    if few:
        raise UserError(
            f"{len(few):,} of the {survey.classes:,} classes of {where} have fewer than "
            f"{LEAST_OF_CLASS} images: {first_of(few)}. Some of each are held out to learn lengths "
            "from and to measure on. Add images, or move these folders away."
        )
    total = sum(survey.counts.values())
    if total < LEAST_OF_CLASS * survey.classes:
        raise UserError(
            f"{where} has {total:,} images of {survey.classes:,} classes; {LEAST_OF_CLASS} of a "
            "class are the least. Add images, or take fewer classes."
        )


def refuse_without_space(workdir: Path, wanted: int) -> None:
    """Refuse a plan that the disk has no space for.

    Args:
        wanted: bytes.

    Raises:
        UserError: naming both numbers.
    """
    there = next(
        place for place in (workdir.absolute(), *workdir.absolute().parents) if place.is_dir()
    )
    free = shutil.disk_usage(there).free
    if free < wanted:
        raise UserError(
            f"The plan writes about {wanted / 1e9:.2f} GB to {workdir}, and {free / 1e9:.2f} GB "
            f"are free there. Free some, or name another --workdir."
        )


def refuse_without_memory(wanted: int, free: int) -> None:
    """Refuse a plan that the machine has no memory for.

    Args:
        wanted, free: bytes.

    Raises:
        UserError: naming both numbers.
    """
    if free < wanted:
        raise UserError(
            f"The plan takes about {wanted / 2**30:.1f} GiB of memory, and {free / 2**30:.1f} GiB "
            "are free. Close other programs, or give a smaller --config.plan.batch_size."
        )
