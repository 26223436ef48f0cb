"""What a search space is: choices, costs, a model for one architecture, and a supernet with masks for all of them.

An architecture is a frozen, hashable dataclass; `to_json` and `from_json` are its one outside form. A space of your own subclasses
`SearchSpace` and is named by its import path, `space=mypackage.mymodule:MySpace` (a class or an instance).
"""

import abc
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax
import numpy as np

from vintk_jax.errors import UserError


class Cost(NamedTuple):
    """Exact integers: trainable parameters, and multiply-adds of one forward pass for one image."""

    params: int
    flops: int


class InvalidArchitecture(UserError):
    """An architecture that the space does not hold."""


@dataclasses.dataclass(frozen=True)
class SearchSpace(abc.ABC):
    """A set of architectures that one supernet can stand in for."""

    name: str

    @property
    def cost_size(self) -> tuple[int, int]:
        """Height and width in pixels of the image that `cost` and limits are stated for: 224, as the field does, unless a space says otherwise."""
        return (224, 224)

    @abc.abstractmethod
    def choices(self) -> Mapping[str, tuple]:
        """Every decision by name with its options; one option of each gives an architecture (`decode`)."""

    @abc.abstractmethod
    def decode(self, chosen: Mapping[str, Any]) -> Any:
        """The architecture of one option per decision; options that make no difference to it are dropped."""

    @abc.abstractmethod
    def encode(self, arch: Any) -> dict[str, Any]:
        """Options per decision that decode to this architecture."""

    @abc.abstractmethod
    def from_json(self, fields: Mapping[str, Any]) -> Any:
        """The architecture of a JSON object.

        Raises:
            InvalidArchitecture: naming the field that is missing or has a value outside the space.
        """

    @abc.abstractmethod
    def to_json(self, arch: Any) -> dict[str, Any]:
        """The JSON object of an architecture."""

    @abc.abstractmethod
    def cost(self, arch: Any, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Exact parameters and multiply-adds, for RGB images; by default of the size and classes that limits are stated for."""

    @abc.abstractmethod
    def model(self, arch: Any, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000) -> nn.Module:
        """The architecture as an ordinary Linen module; Linen's first layer takes the channels that come."""

    @abc.abstractmethod
    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> nn.Module:
        """The widest model, which `masks` turn into any architecture of the space; `options` go to the module."""

    @abc.abstractmethod
    def masks(self, arch: Any) -> dict[str, Any]:
        """What of the supernet this architecture has, as (nested) dicts of float32 zeros and ones."""

    def stem_masks(self, arch: Any) -> dict[str, Any]:
        """The masks of this architecture with all its blocks off, by the masks named `alive`, heads and hidden units with them.

        Raises:
            UserError: for masks that know no `alive`.
        """
        masks, found = self.masks(arch), []

        def without(node: Mapping[str, Any]) -> dict[str, Any]:
            if "alive" in node:
                found.append(node)
            dead = ("alive", "heads", "hidden") if "alive" in node else ()
            return {k: without(v) if isinstance(v, Mapping) else np.zeros_like(v) if k in dead else v for k, v in node.items()}

        stem = without(masks)
        if not found:
            raise UserError(f"The masks of {self.name} have no `alive`, so its blocks can't be taken out; override `stem_masks`.")
        return stem

    @abc.abstractmethod
    def subnet(self, params: dict, arch: Any) -> dict:
        """The supernet's variables cut down to the variables of `model(arch)`."""

    @abc.abstractmethod
    def cheapest(self) -> Any:
        """The architecture of the fewest parameters and multiply-adds: what no limit may go below."""

    @abc.abstractmethod
    def size(self) -> int:
        """How many architectures there are."""

    @abc.abstractmethod
    def enumerate(self) -> Iterator[Any]:
        """All architectures, in a fixed order."""

    def width(self, arch: Any) -> int:
        """What groups architectures by width when scores are compared; the choice `embed_dim` unless a space says otherwise."""
        return self.encode(arch)["embed_dim"]

    def total_depth(self, arch: Any) -> int:
        """Number of blocks; the choice `depth` unless a space says otherwise."""
        return self.encode(arch)["depth"]

    def sample(self, key: jax.Array | np.random.Generator) -> Any:
        """An architecture with every decision drawn uniformly (so depths are as frequent as each other)."""
        rng = key if isinstance(key, np.random.Generator) else np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        return self.decode({name: options[rng.integers(len(options))] for name, options in self.choices().items()})
