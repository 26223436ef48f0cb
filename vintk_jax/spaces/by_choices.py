"""What a search space has without writing it: architectures, encodings, costs, counts and cut
weights, made of its choices, models and masks.

`SearchSpace` calls these functions where a space doesn't override them. They use only the methods
that every space has.
"""

import dataclasses
import functools
import itertools
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jaxtyping import Float

from vintk_jax.errors import UserError
from vintk_jax.multiply_adds import multiply_adds

MOST_COUNTED = 100_000


class Cost(NamedTuple):
    """Exact integers: trainable parameters, and multiply-adds of one forward pass for one image."""

    params: int
    flops: int


class InvalidArchitecture(UserError):
    """An architecture that the space does not hold."""


def of_blocks(count: int, **options: tuple) -> dict[str, tuple]:
    """Decisions of every block: `of_blocks(2, heads=(3, 4))` is {"heads_0": (3, 4), "heads_1": (3,
    4)}.
    """
    return {f"{name}_{i}": of_one for i in range(count) for name, of_one in options.items()}


def leading_ones(counts: int | Sequence[int], size: int) -> Float[np.ndarray, "*rows size"]:
    """A mask whose first entries are ones, as many as counted; for several counts, a row for
    each.
    """
    return (np.arange(size) < np.asarray(counts)[..., None]).astype(np.float32)


def numbered_name(name: str) -> tuple[str, int] | None:
    """A decision's name without the number behind it, and the number."""
    match = re.fullmatch(r"(.+)_(\d+)", name)
    return (match[1], int(match[2])) if match else None


@functools.lru_cache
def _architecture(fields: tuple[str, ...]) -> type:
    return dataclasses.make_dataclass("Architecture", fields, frozen=True)


def decode(space: Any, chosen: Mapping[str, Any]) -> Any:
    """A dataclass of the choices, those with numbers behind their names as tuples; see
    `SearchSpace.decode`.
    """
    fields: dict[str, Any] = {}
    for name in space.choices():
        if numbered := numbered_name(name):
            fields.setdefault(numbered[0], {})[numbered[1]] = chosen[name]
        else:
            fields[name] = chosen[name]
    for name, value in fields.items():
        if isinstance(value, dict):
            fields[name] = tuple(value[i] for i in sorted(value))[: chosen.get("depth")]
    return _architecture(tuple(fields))(**fields)


def encode(space: Any, arch: Any) -> dict[str, Any]:
    """Each decision from the attribute of its name, or a place of it; see `SearchSpace.encode`.

    Raises:
        UserError: for a decision that the architecture has no attribute for.
    """
    chosen = {}
    for name, options in space.choices().items():
        numbered = numbered_name(name)
        if hasattr(arch, name):
            chosen[name] = getattr(arch, name)
        elif numbered and hasattr(arch, numbered[0]):
            values = getattr(arch, numbered[0])
            place = numbered[1]
            chosen[name] = values[place] if place < len(values) else options[0]
        else:
            either = f"{name} or {numbered[0]}" if numbered else name
            raise UserError(
                f"{space.name} has a decision {name!r}, but {type(arch).__name__} has no attribute "
                f"{either} to read it from. Name the "
                "attribute alike, or override `encode`."
            )
    return chosen


@functools.lru_cache(maxsize=MOST_COUNTED)
def traced_cost(space: Any, arch: Any, image_size: int, num_classes: int) -> Cost:
    """Parameters and multiply-adds of one trace in which the model draws its weights and runs; an
    initialiser's own products would count.

    Tracing is what takes the time, so one trace serves both, and an architecture is counted once.
    """
    model = space.model(arch, image_size, num_classes=num_classes)
    sizes = []

    def run(key, image):
        logits, variables = model.init_with_output(key, image)
        sizes.extend(leaf.size for leaf in jax.tree.leaves(variables["params"]))
        return logits

    image = jax.ShapeDtypeStruct((1, *space.input_shape(image_size)), jnp.float32)
    flops = multiply_adds(run, jax.random.key(0), image)
    return Cost(sum(sizes), flops)


@functools.lru_cache(maxsize=64)
def _shapes(space: Any, arch: Any) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Shapes of the variables of an architecture, or with None of the supernet, by path."""
    module = space.supernet() if arch is None else space.model(arch)
    image = jax.ShapeDtypeStruct((1, *space.input_shape()), jnp.float32)
    variables = flatten_dict(jax.eval_shape(module.init, jax.random.key(0), image))
    return {path: leaf.shape for path, leaf in variables.items()}


def leading_weights(space: Any, params: Mapping[str, Any], arch: Any) -> dict[str, Any]:
    """Of each weight of the architecture, the leading entries of the supernet's weight of that
    name.

    An axis is cut where the two have different lengths on an image of `cost_size`, to the shorter;
    so an axis that follows the image is left as it is.

    Raises:
        UserError: for a weight that the supernet doesn't have, or has smaller or with other axes.
    """
    wide = _shapes(space, None)
    narrow = _shapes(space, arch)
    given = flatten_dict(params)
    cut = {}
    for path, shape in narrow.items():
        where = "/".join(path[1:])
        if path not in wide or path not in given:
            raise UserError(
                f"The supernet of {space.name} has no weight {where}, which {arch} has. Name its "
                "layers alike, or override `subnet`."
            )
        if len(shape) != len(wide[path]) or any(
            mine > its for mine, its in zip(shape, wide[path], strict=True)
        ):
            raise UserError(
                f"{where} is {shape} in {arch} and {wide[path]} in the supernet of {space.name}: "
                "it can't be cut from that. Override `subnet`."
            )
        lengths = zip(shape, wide[path], strict=True)
        cut[path] = given[path][
            tuple(slice(mine if mine != its else None) for mine, its in lengths)
        ]
    return unflatten_dict(cut)


def descend(space: Any, price: Callable[[Any], Any]) -> Any:
    """An architecture whose price no change of one decision lowers; of equals the first option.

    Each decision in turn takes its cheapest option, beginning with the first of all, until nothing
    changes.
    """
    chosen = space.encode(space.example())
    before = None
    while chosen != before:
        before = dict(chosen)
        for name, options in space.choices().items():
            prices = [price(space.decode({**chosen, name: option})) for option in options]
            chosen[name] = options[prices.index(min(prices))]
    return space.decode(chosen)


def combinations(space: Any) -> Iterator[Any]:
    """The architectures of all combinations of choices, each once."""
    names = list(space.choices())
    given = set()
    for options in itertools.product(*space.choices().values()):
        arch = space.decode(dict(zip(names, options, strict=True)))
        if arch not in given:
            given.add(arch)
            yield arch


def count_alive(masks: Mapping[str, Any]) -> int:
    """Ones in the masks named `alive`, at any depth."""
    count = 0
    for name, mask in masks.items():
        if name == "alive":
            count += int(np.sum(mask))
        elif isinstance(mask, Mapping):
            count += count_alive(mask)
    return count


def has_alive(masks: Mapping[str, Any]) -> bool:
    """Whether there is a mask named `alive`, at any depth."""
    return "alive" in masks or any(
        has_alive(mask) for mask in masks.values() if isinstance(mask, Mapping)
    )
