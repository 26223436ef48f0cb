"""Batches of clips that video architectures are scored on: from the sources that a training's clips
come from (`data.clips`), or noise.
"""

import numpy as np

from vintk_jax.data.clip_views import ClipViews
from vintk_jax.data.clips import KINDS, open_clips
from vintk_jax.data.inputs import Inputs, standardise
from vintk_jax.errors import UserError


def load(
    source: str, split: str, num_clips: int, frames: int, image_size: int, seed: int
) -> Inputs:
    """Load a batch of clips, (num_clips, frames, image_size, image_size, 3), standardised as images
    are. It depends on the seed alone.

    A clip is shown as a training evaluates one: frames spread over all of it, the centre square of
    each. Broken clips are skipped and named.

    Args:
        source: "digits" (moving), "noise" (independent standard normal pixels), "clips:PATH",
            "npz:PATH" or "tfds:NAME".
        split: which clips of the source, as `data.sources.open_source` takes it.
        num_clips: how many; two at least, for a kernel has to tell inputs apart.

    Raises:
        UserError: for an unknown source, too few clips, or none that can be read.
    """
    if source.partition(":")[0] not in ("noise", *KINDS):
        raise UserError(
            f"Expected inputs.source to be one of clips, as the space takes clips: digits, noise, "
            f"clips:PATH, npz:PATH or tfds:NAME, got {source!r}."
        )
    if num_clips < 2 or image_size < 1:
        raise UserError(
            "Expected inputs.num_images of two clips at least and inputs.image_size of one pixel "
            f"at least, got {num_clips} and {image_size}."
        )
    rng = np.random.default_rng(seed)
    if source == "noise":
        return Inputs(
            rng.standard_normal((num_clips, frames, image_size, image_size, 3)).astype(np.float32)
        )
    asked = f"inputs.source={source}, inputs.split={split}"
    try:
        clips = open_clips(source, split)
    except UserError as error:
        raise UserError(f"Expected clips from {asked}. {error}") from error
    eval_transform = ClipViews(image_size, frames)
    batch = []
    notes = list(clips.notes)
    for index in rng.permutation(len(clips)).tolist():
        if len(batch) == num_clips:
            break
        try:
            batch.append(eval_transform(clips[index], rng)["image"] / np.float32(255))
        except UserError as error:
            notes.append(f"skipped: {error}")
    if len(batch) < num_clips:
        named = f" {len(notes)} note(s): {notes[0]}" if notes else ""
        raise UserError(
            f"Expected inputs.num_images={num_clips} clips from {asked}, which holds {len(batch)} "
            f"readable clip(s). Lower it.{named}"
        )
    return Inputs(standardise(batch), tuple(notes))
