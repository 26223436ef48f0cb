"""What a search space is: choices, costs, a model for one architecture, and a supernet with masks
for all of them.

An architecture is a frozen, hashable dataclass; `to_json` and `from_json` are its one outside form.
A space of your own subclasses `SearchSpace`, gives it `choices`, `model`, `supernet` and `masks`,
and is named by its import path, `space=mypackage.mymodule:MySpace` (a class or an instance). The
rest has defaults, made of these four (`by_choices`); docs/your_space.md shows how, and `python -m
vintk_jax.spaces.check` checks a space.
"""

import abc
import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import flax.linen as nn
import jax
import numpy as np

from vintk_jax.errors import UserError
from vintk_jax.spaces import by_choices, json_form
from vintk_jax.spaces.block_shapes import BlockShape, traced_blocks
from vintk_jax.spaces.by_choices import Cost, InvalidArchitecture

__all__ = ["Cost", "InvalidArchitecture", "SearchSpace"]


@dataclasses.dataclass(frozen=True)
class SearchSpace(abc.ABC):
    """A set of architectures that one supernet can stand in for.

    Attributes:
        name: as people read it.
        block_masks: names of the masks that belong to the blocks, `alive` among them: zeros in them
            take the blocks out.
    """

    name: str
    block_masks: ClassVar[tuple[str, ...]] = ("alive", "heads", "hidden")

    @property
    def cost_size(self) -> tuple[int, int]:
        """Height and width in pixels of the image that `cost` and limits are stated for: 224, as
        the field does, unless a space says otherwise.
        """
        return (224, 224)

    @property
    def frames(self) -> int:
        """Frames of the clips that the models take; 0: they take images."""
        return 0

    def input_shape(self, image_size: int = 0) -> tuple[int, ...]:
        """(height, width, 3) of an image, or (frames, height, width, 3) of a clip; of so many
        pixels a side, 0: of `cost_size`.
        """
        sides = (image_size, image_size) if image_size else self.cost_size
        frames = (self.frames,) if self.frames else ()
        return (*frames, *sides, 3)

    @abc.abstractmethod
    def choices(self) -> Mapping[str, tuple]:
        """Every decision by name with its options (numbers, strings); one option of each gives an
        architecture (`decode`).
        """

    @abc.abstractmethod
    def model(
        self, arch: Any, image_size: int = 224, in_channels: int = 3, num_classes: int = 1000
    ) -> nn.Module:
        """The architecture as an ordinary Linen module; Linen's first layer takes the channels that
        come.
        """

    @abc.abstractmethod
    def supernet(self, image_size: int = 224, num_classes: int = 1000, **options: Any) -> nn.Module:
        """The widest model, which `masks` turn into any architecture of the space.

        Called with images, and by keyword with `masks`, or without: then nothing is switched off.
        `options` go to the module: `remat`, whether to recompute activations instead of keeping
        them, is the one that a search gives.
        """

    @abc.abstractmethod
    def masks(self, arch: Any) -> dict[str, Any]:
        """What of the supernet this architecture has, as (nested) dicts of float32 zeros and ones;
        of the same shapes for all.
        """

    def decode(self, chosen: Mapping[str, Any]) -> Any:
        """The architecture of one option per decision; options that make no difference to it are
        dropped.

        By default a frozen dataclass with a field for each decision; decisions with numbers behind
        their names, `mixer_0`, `mixer_1`, are one tuple, `mixer`, of which a decision called
        `depth` keeps so many.
        """
        return by_choices.decode(self, chosen)

    def encode(self, arch: Any) -> dict[str, Any]:
        """Options per decision that decode to this architecture.

        By default each is read from the architecture's attribute of the decision's name, or for a
        name with a number behind it, `mixer_3`, from that place of a tuple, `mixer`; where the
        tuple is shorter, it is the first option.
        """
        return by_choices.encode(self, arch)

    def from_json(self, fields: Mapping[str, Any]) -> Any:
        """The architecture of a JSON object.

        Raises:
            InvalidArchitecture: naming the field that is missing or has a value outside the space.
        """
        return json_form.from_json(self, fields)

    def to_json(self, arch: Any) -> dict[str, Any]:
        """The JSON object of an architecture; by default its fields, tuples as lists."""
        return json_form.to_json(arch)

    def cost(self, arch: Any, image_size: int = 224, num_classes: int = 1000) -> Cost:
        """Exact parameters and multiply-adds, for an RGB image or clip; by default of the size and
        classes that limits are stated for.

        Counted, unless a space has a formula, on a trace of `model`, once for each architecture:
        some hundredths of a second.
        """
        return by_choices.traced_cost(self, arch, image_size, num_classes)

    def blocks(self, arch: Any) -> tuple[BlockShape, ...]:
        """The shapes of the blocks, in the order in which they run; by default read from a trace of
        `model`, once for each architecture.

        Raises:
            UserError: for models without MLPs of `vintk_jax.models`.
        """
        return traced_blocks(self, arch)

    def pools(self, arch: Any) -> bool:
        """Whether the classifier reads a mean over tokens or pixels; False where it reads a class
        token, which has seen no image before the first block. By default it reads a mean.
        """
        return True

    def stem_masks(self, arch: Any) -> dict[str, Any]:
        """The masks of this architecture with all its blocks off: `block_masks` are zero wherever
        there is an `alive` beside them.

        Raises:
            UserError: for masks that know no `alive`.
        """
        masks = self.masks(arch)
        if not by_choices.has_alive(masks):
            raise UserError(
                f"The masks of {self.name} have no `alive`, so its blocks can't be taken out; "
                "override `stem_masks`."
            )

        def without_blocks(node: Mapping[str, Any]) -> dict[str, Any]:
            dead = self.block_masks if "alive" in node else ()
            stem = {}
            for name, mask in node.items():
                if isinstance(mask, Mapping):
                    stem[name] = without_blocks(mask)
                else:
                    stem[name] = np.zeros_like(mask) if name in dead else mask
            return stem

        return without_blocks(masks)

    def subnet(self, params: dict, arch: Any) -> dict:
        """The supernet's variables cut down to the variables of `model(arch)`; by default the
        leading entries of weights of the same name.

        Raises:
            UserError: for a weight that the supernet doesn't have, or has smaller.
        """
        return by_choices.leading_weights(self, params, arch)

    def example(self) -> Any:
        """Some architecture: the first option of every decision."""
        return self.decode({name: options[0] for name, options in self.choices().items()})

    def cheapest(self) -> Any:
        """The architecture of the fewest parameters, among equals of the fewest multiply-adds.

        By default found one decision after another, until none can be changed for the better:
        override it where that isn't the least.
        """
        return by_choices.descend(self, self.cost)

    def least(self) -> Cost:
        """The fewest parameters and the fewest multiply-adds that any architecture has: what no
        limit may go below.
        """

        def flops_first(arch):
            return self.cost(arch)[::-1]

        least = self.cost(by_choices.descend(self, flops_first))
        return Cost(*map(min, least, self.cost(self.cheapest())))

    def size(self) -> int:
        """How many architectures there are.

        By default they are counted where `choices` has 100,000 combinations at most; beyond it is
        these, those that decode alike counted apart.
        """
        combinations = math.prod(map(len, self.choices().values()))
        if combinations > by_choices.MOST_COUNTED:
            return combinations
        return sum(1 for _ in self.enumerate())

    def enumerate(self) -> Iterator[Any]:
        """All architectures, in a fixed order: by default that of the combinations of `choices`."""
        return by_choices.combinations(self)

    def width(self, arch: Any) -> int:
        """What groups architectures by width when scores are compared: the choice `embed_dim`; 0
        for all where that isn't one.
        """
        return self.encode(arch).get("embed_dim", 0)

    def by_width(self) -> Mapping[int, "SearchSpace"]:
        """Spaces of the architectures of one `width` each, by width: parts of this one, whose
        supernets are narrower. A search on a CPU takes an architecture's own part, which costs
        less. Empty, the default: there are none.

        The weights and masks of a part's supernet have to be the leading entries of the whole
        one's.
        """
        return {}

    def total_depth(self, arch: Any) -> int:
        """Number of blocks: the choice `depth`, or where that isn't one, the ones in masks named
        `alive`.
        """
        if "depth" in self.choices():
            return self.encode(arch)["depth"]
        return by_choices.count_alive(self.masks(arch))

    def sample(self, key: jax.Array | np.random.Generator) -> Any:
        """An architecture with every decision drawn uniformly (so depths are as frequent as each
        other).
        """
        if isinstance(key, np.random.Generator):
            rng = key
        else:
            rng = np.random.default_rng(np.asarray(jax.random.key_data(key)).tolist())
        return self.decode(
            {name: options[rng.integers(len(options))] for name, options in self.choices().items()}
        )
