"""A model at its lengths, where a length may begin with the pass of another (`models.regions`)."""

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.models.folding import Length
from vintk_jax.models.regions import Regions
from vintk_jax.pieces import bytes_of


def begins_with(length: Length | None) -> Length | None:
    """The length whose pass comes first; None where a length is one pass."""
    return length.grid if isinstance(length, Regions) else None


def with_tokens(
    model: nn.Module, variables: Any, images: Float[Array, " n *image"], *arguments: Any, **options
) -> tuple[Any, Float[Array, "n *tokens embed"]]:
    """What a model answers, and what its last norm gives the classifier.

    Args:
        arguments: the model's others: its length, unless it has only one.
    """

    def is_last_norm(module, method):
        return module.name == "norm" and method == "__call__"

    answer, captured = model.apply(
        variables,
        images,
        *arguments,
        capture_intermediates=is_last_norm,
        mutable=["intermediates"],
        **options,
    )
    return answer, captured["intermediates"]["norm"]["__call__"][0]


def at_lengths(
    model: nn.Module,
    variables: Any,
    images: Float[Array, " n *image"],
    lengths: Sequence[Length | None],
    **options: Any,
) -> list[Any]:
    """What a model answers at each length; a pass that others begin with is run once.

    Args:
        options: what the model is called with, beside images and length.
    """
    answers = {}
    tokens = {}
    for first in dict.fromkeys(begins_with(length) for length in lengths):
        if first is not None:
            answers[first], tokens[first] = with_tokens(model, variables, images, first, **options)
    for length in lengths:
        if length in answers:
            continue
        asked = () if length is None else (length,)
        first = begins_with(length)
        known = {} if first is None else {"known": tokens[first]}
        answers[length] = model.apply(variables, images, *asked, **known, **options)
    return [answers[length] for length in lengths]


def drawn(
    model: nn.Module,
    key: jax.Array,
    images: Float[Array, " n *image"],
    lengths: Sequence[Length | None],
) -> Any:
    """A model's variables at the start: those of all its lengths."""
    regions = [length for length in lengths if isinstance(length, Regions)]
    if regions:
        width = (len(images), 1 + regions[0].coarse ** 2, model.embed_dim)
        return model.init(key, images, regions[0], known=jnp.zeros(width, images.dtype))
    return model.init(key, images, *(() if lengths[0] is None else (lengths[0],)))


def bytes_a_sample(model: nn.Module, grids: Sequence[Any], shape: tuple[int, ...]) -> int:
    """What one more image adds to the outputs of all operations of a forward pass at every length.

    Args:
        grids: the lengths; (None,) for a model that has only its own.
        shape: of an image or a clip.
    """

    def forward(params, images):
        return at_lengths(model, params, images, grids)

    def images(count):
        return jax.ShapeDtypeStruct((count, *shape), jnp.float32)

    params = jax.eval_shape(
        lambda key, x: drawn(model, key, x, grids), jax.random.key(0), images(1)
    )
    return bytes_of(forward, params, images(3)) - bytes_of(forward, params, images(2))
