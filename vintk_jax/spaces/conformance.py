"""What every search space promises: for each promise a function that raises `BrokenPromise` with
what is wrong. What its supernet promises is in `supernet_conformance`.

`python -m vintk_jax.spaces.check` tries them on a space of yours, the tests on the built-in ones.
"""

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from vintk_jax.errors import UserError
from vintk_jax.multiply_adds import multiply_adds
from vintk_jax.spaces.base import InvalidArchitecture, SearchSpace


class BrokenPromise(UserError):
    """Something that a search space promises and doesn't keep."""


def require(is_so: bool, otherwise: str) -> None:
    """Raise `BrokenPromise` unless something is so."""
    if not is_so:
        raise BrokenPromise(otherwise)


def draw(module: Any, *args: Any, size: int | float = 0.3, seed: int = 0) -> Any:
    """Random variables for a call of a module in which no bias is zero and no scale one: initial
    zeros would hide mistakes.
    """
    rng = np.random.default_rng(seed)

    def init(key):
        return module.init(key, *args)

    def value(path, leaf):
        noise = size * rng.standard_normal(leaf.shape)
        # In NumPy: a cast by JAX would be a compiled program for each shape.
        return jnp.asarray(np.float32(noise + 1 if path[-1].key == "scale" else noise))

    return jax.tree_util.tree_map_with_path(value, jax.eval_shape(init, jax.random.key(0)))


def choices(space: SearchSpace) -> None:
    """Options are values that a search's storage gives back as they were, each named once."""
    decisions = space.choices()
    require(bool(decisions), "choices() is empty.")
    for name, options in decisions.items():
        require(
            isinstance(options, tuple) and len(options) > 0,
            f"Expected a tuple of options, got choices()[{name!r}] = {options!r}.",
        )
        for option in options:
            plain = option is None or type(option) in (bool, int, float, str)
            require(
                plain,
                "Expected numbers, strings, True, False or None as options, got "
                f"{option!r} in choices()[{name!r}].",
            )
        require(
            len(set(options)) == len(options),
            f"choices()[{name!r}] names an option twice: {options}.",
        )


def round_trips(space: SearchSpace, archs: Sequence[Any]) -> None:
    """Decisions and JSON text give each architecture back."""
    for arch in archs:
        require(
            hash(arch) == hash(dataclasses.replace(arch)),
            f"Equal architectures hash differently: {arch}.",
        )
        chosen = space.encode(arch)
        differ = set(chosen) ^ set(space.choices())
        require(
            not differ, f"encode and choices() differ in the decisions {', '.join(sorted(differ))}."
        )
        for name, options in space.choices().items():
            require(
                chosen[name] in options,
                f"encode({arch}) chose {name}={chosen[name]!r}, which is none of {options}.",
            )
        require(
            space.decode(chosen) == arch,
            f"decode(encode(arch)) is {space.decode(chosen)} for {arch}.",
        )
        fields = json.loads(json.dumps(space.to_json(arch)))
        require(
            space.from_json(fields) == arch,
            f"from_json(to_json(arch)) is {space.from_json(fields)} for {arch}.",
        )


def refusals(space: SearchSpace, archs: Sequence[Any]) -> None:
    """A value outside the space is refused in every field of the JSON."""
    fields = json.loads(json.dumps(space.to_json(archs[0])))
    for field, value in fields.items():
        wrong = "no such option"
        if isinstance(value, list):
            wrong = [wrong] * len(value)
        try:
            taken = space.from_json({**fields, field: wrong})
        except InvalidArchitecture:
            continue
        raise BrokenPromise(
            f"Expected InvalidArchitecture of from_json for {field}='no such option', got {taken}."
        )


def counts(
    space: SearchSpace,
    archs: Sequence[Any],
    image_size: int | None = None,
    num_classes: int | None = None,
    flops: bool = True,
) -> None:
    """`cost` is the initialised model's count of parameters, and the traced forward pass's of
    multiply-adds.

    Args:
        image_size, num_classes: None for the space's own, that limits are stated for.
        flops: whether multiply-adds are checked too.
    """
    shape = space.input_shape(image_size or 0)
    given = {"image_size": image_size} if image_size else {}
    given |= {"num_classes": num_classes} if num_classes else {}
    image = jax.ShapeDtypeStruct((1, *shape), jnp.float32)
    for arch in archs:
        model = space.model(arch, **given)
        cost = space.cost(arch, **given)
        variables = jax.eval_shape(model.init, jax.random.key(0), image)
        owned = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(variables))
        at = f"at {' x '.join(map(str, shape[:-1]))} px, for {arch}"
        require(
            cost.params == owned,
            f"cost says {cost.params:,} parameters, the initialised model has {owned:,}, {at}.",
        )
        if flops:
            done = multiply_adds(model.apply, variables, image)
            require(
                cost.flops == done,
                f"cost says {cost.flops:,} multiply-adds, the traced model makes {done:,}, {at}. "
                "On purpose? --own-flops leaves this out.",
            )


def least(space: SearchSpace, archs: Sequence[Any]) -> None:
    """No architecture is below `least`, and `cheapest` belongs to the space."""
    bound = space.least()
    require(
        space.from_json(space.to_json(space.cheapest())) == space.cheapest(),
        f"cheapest() is {space.cheapest()}, not of the space.",
    )
    for arch in archs:
        below = [
            name
            for name, mine, its in zip(bound._fields, space.cost(arch), bound, strict=True)
            if mine < its
        ]
        require(
            not below,
            f"{arch} has fewer {' and '.join(below)} than least() says ({bound}). Override "
            "`cheapest`, or `least`.",
        )


def sizes(space: SearchSpace, most: int = 5_000) -> None:
    """`enumerate` gives `size` architectures, all different; tried where there are few."""
    size = space.size()
    if size <= most:
        members = list(space.enumerate())
        require(
            len(members) == len(set(members)) == size,
            f"size() is {size}; enumerate() gives {len(members)}, {len(set(members))} different.",
        )


def masks(space: SearchSpace, archs: Sequence[Any]) -> None:
    """One tree of one set of shapes, of float32 zeros and ones, for all; the same for the
    stem's.
    """

    def shapes_of(tree):
        return {
            "/".join(path): (np.shape(leaf), np.asarray(leaf).dtype)
            for path, leaf in flatten_dict(tree).items()
        }

    wanted = shapes_of(space.masks(archs[0]))
    for arch in archs:
        for method in ("masks", "stem_masks"):
            tree = getattr(space, method)(arch)
            for name, (shape, dtype) in shapes_of(tree).items():
                require(
                    dtype == np.float32,
                    f"Expected float32 masks, got {dtype} for {name!r} in {method}.",
                )
                require(
                    (shape, dtype) == wanted.get(name),
                    f"{method} has {name!r} of {shape} for {arch}, but not for {archs[0]}.",
                )
            require(
                set(shapes_of(tree)) == set(wanted),
                f"{method} has not the same names for {arch} and {archs[0]}.",
            )
            values = np.unique(np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]))
            require(
                set(values) <= {0.0, 1.0},
                f"Expected zeros and ones in {method}, got {values.tolist()} for {arch}.",
            )
