"""What a space's supernet promises: masked, it is each architecture's own model, and the tangent
kernel fits it.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from vintk_jax import ntk
from vintk_jax.ntk import definition
from vintk_jax.spaces.base import SearchSpace
from vintk_jax.spaces.conformance import BrokenPromise, draw, require
from vintk_jax.spaces.parts import leading_entries

TOLERANCE = 1e-5  # Frobenius norm of a difference over that of what was wanted
_IMAGES = 3


def supernet(
    space: SearchSpace, archs: Sequence[Any], image_size: int, num_classes: int = 3, **options: Any
) -> None:
    """Masked, the supernet is each architecture's own model with the weights that `subnet` cuts:
    shapes, logits, and kernel.

    In float64, so that a difference is no rounding. `options` go to the supernet.
    """
    if not archs:
        return
    wide = space.supernet(image_size, num_classes, **options)
    images = _inputs(space, image_size)
    variables = draw(wide, images, size=0.1)
    with jax.enable_x64(True):

        @jax.jit
        def of_supernet(variables, images, masks):
            logits = wide.apply(variables, images, masks=masks)
            return logits, ntk.kernel(wide, variables, images, masks=masks, dtype=jnp.float64)

        for arch in archs:
            model = space.model(arch, image_size, num_classes=num_classes)
            cut = space.subnet(variables, arch)
            _check_shapes(cut, jax.eval_shape(model.init, jax.random.key(0), images), arch)
            supernet_inputs = _float64((variables, images, space.masks(arch)))
            model_inputs = _float64((cut, images))
            got = of_supernet(*supernet_inputs)
            wanted = _logits_and_kernel(model, *model_inputs)
            _require_alike(
                got,
                wanted,
                ("the masked supernet", "the model's own", arch),
                "Is a mask missing behind a layer (its bias fills dead columns), or does `subnet` "
                "cut other entries than the masks leave?",
            )


def _require_alike(got: Any, wanted: Any, whose: tuple[str, str, Any], advice: str) -> None:
    """Whether logits and kernel are equal to rounding.

    Args:
        whose: what gave them, what else gave what is wanted, and the architecture.
    """
    mine, other, arch = whose
    for what, ours, theirs in zip(("logits", "kernel"), got, wanted, strict=True):
        apart = _error(ours, theirs)
        require(
            apart < TOLERANCE,
            f"The {what} of {mine} are {apart:.1e} from {other}, relatively, for {arch}. {advice}",
        )


def _logits_and_kernel(
    model: Any, variables: Any, images: Any, masks: Any = None
) -> tuple[jax.Array, jax.Array]:
    options = {} if masks is None else {"masks": masks}

    @jax.jit
    def run(variables, images, options):
        logits = model.apply(variables, images, **options)
        return logits, ntk.kernel(model, variables, images, dtype=jnp.float64, **options)

    return run(variables, images, options)


def _check_shapes(cut: Any, wanted: Any, arch: Any) -> None:
    """Whether `subnet` gives weights of the names and shapes that the model has."""
    shapes = [
        {path: leaf.shape for path, leaf in flatten_dict(tree).items()} for tree in (cut, wanted)
    ]
    for path in shapes[1] | shapes[0]:
        mine, its = (of_tree.get(path) for of_tree in shapes)
        require(
            mine == its,
            f"subnet gives {'/'.join(path[1:])} as {mine}, the model has {its}, for {arch}.",
        )


def parts(
    space: SearchSpace, archs: Sequence[Any], image_size: int, num_classes: int = 3, **options: Any
) -> None:
    """The supernet of an architecture's width (`by_width`) gives what the whole one does."""
    by_width = space.by_width()
    wide = space.supernet(image_size, num_classes, **options)
    images = _inputs(space, image_size)
    for arch in archs:
        part = by_width.get(space.width(arch))
        if part is None:
            continue
        variables = draw(wide, images, size=0.1)
        narrow = part.supernet(image_size, num_classes, **options)
        shapes = jax.eval_shape(narrow.init, jax.random.key(0), images)
        advice = (
            "Are its weights and masks not the leading ones of the whole? Then don't give "
            "`by_width`."
        )
        try:
            cut = leading_entries(variables, shapes)
        except ValueError as error:
            raise BrokenPromise(
                f"The supernet of width {space.width(arch)} has other weights than the whole one: "
                f"{error} {advice}"
            ) from error
        with jax.enable_x64(True):
            wanted = _logits_and_kernel(wide, *_float64((variables, images, space.masks(arch))))
            got = _logits_and_kernel(narrow, *_float64((cut, images, part.masks(arch))))
        whose = (f"the supernet of width {space.width(arch)}", "the whole one's", arch)
        _require_alike(got, wanted, whose, advice)


def kernel(
    space: SearchSpace,
    archs: Sequence[Any],
    image_size: int,
    num_classes: int = 3,
    dtype: str = "float64",
    **options: Any,
) -> None:
    """The structured kernel of the masked supernet is the Jacobian's."""
    if not archs:
        return
    wide = space.supernet(image_size, num_classes, **options)
    images = _inputs(space, image_size)
    variables = draw(wide, images, size=0.1)
    outputs = jax.eval_shape(wide.apply, variables, images).shape[1:]
    direction = np.random.default_rng(1).standard_normal((*outputs, 1))

    def cast(leaf):
        return jnp.asarray(leaf, dtype)

    @jax.jit
    def run(variables, images, masks, directions):
        return ntk.kernel(
            wide, variables, images, cotangent=directions, masks=masks, dtype=jnp.dtype(dtype)
        )

    for arch in archs:
        masks = jax.tree.map(partial(jnp.asarray, dtype=jnp.float32), space.masks(arch))

        def along(variables, images, masks=masks):
            outputs = wide.apply(variables, images, masks=masks) * direction[..., 0]
            return jnp.sum(outputs.reshape(len(images), -1), axis=1)

        wanted = definition.kernel(definition.jacobian(along, variables, images), np.ones((1, 1)))
        with jax.enable_x64(dtype == "float64"):
            given = jax.tree.map(cast, (variables, images, masks, direction))
            apart = _error(run(*given), wanted)
        require(
            apart < TOLERANCE,
            f"The structured kernel is {apart:.1e} from the Jacobian's, relatively, for {arch}. Is "
            "the rule of a layer of yours wrong, or does the model mix samples?",
        )


def _inputs(space: SearchSpace, side: int) -> jax.Array:
    shape = (_IMAGES, *space.input_shape(side))
    return jnp.asarray(np.float32(np.random.default_rng(2).standard_normal(shape)))


def _float64(tree: Any) -> Any:
    return jax.tree.map(partial(np.asarray, dtype=np.float64), tree)


def _error(got: Any, wanted: Any) -> float:
    got = np.asarray(got, np.float64)
    wanted = np.asarray(wanted, np.float64)
    if got.shape != wanted.shape:
        return math.inf
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
