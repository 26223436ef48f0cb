"""Supernets that are narrower than their space's: an architecture costs what its width costs, not
what the widest does.

A masked supernet computes all columns of the widest architecture. A space may have parts by width
(`SearchSpace.by_width`), whose supernets have fewer; the kernel of an architecture within its part
is the one within the whole, to rounding.
"""

from typing import Any

import jax
import numpy as np

from vintk_jax.proxies.supernet import Supernet
from vintk_jax.spaces import SearchSpace
from vintk_jax.spaces.parts import leading_entries

# Each is compiled, which takes some seconds: of many widths a few are chosen.
MOST_WIDTHS = 4


class Widths:
    """The supernets of some of a space's widths, the whole one last.

    Args:
        supernet: of the whole space.
        most: how many there may be; 1: the whole one alone.
    """

    def __init__(self, supernet: Supernet, most: int):
        self._supernet = supernet
        space = supernet.space
        parts = _parts(space)
        self._known = frozenset(parts)
        self._widths = _spread(sorted(parts), most)
        self._spaces = [parts[width] for width in self._widths[:-1]] + [space]

    def __len__(self) -> int:
        return len(self._spaces)

    def place(self, arch: Any) -> int:
        """Which of these supernets is the first that is wide enough for an architecture; the whole
        one for a width that there is no part of.
        """
        whole = len(self) - 1
        width = self._supernet.space.width(arch) if whole else 0
        if width not in self._known:
            return whole
        return next(place for place, most in enumerate(self._widths) if width <= most)

    def model(self, place: int, **options: Any) -> Any:
        """The module of a supernet."""
        net = self._supernet
        return self._spaces[place].supernet(net.image_size, net.settings.num_classes, **options)

    def cut(self, place: int, view: str, params: Any, masks: Any) -> tuple[Any, Any]:
        """What a supernet takes of the whole one's weights on a view, stacked over draws, and of an
        architecture's masks.
        """
        if place == len(self) - 1:
            return params, masks
        model = self.model(place)
        images = self._supernet.images[view]
        one_image = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
        shapes = jax.eval_shape(model.init, jax.random.key(0), one_image)
        space = self._spaces[place]
        own_masks = space.masks(space.example())
        return leading_entries(params, shapes, axes=1), leading_entries(masks, own_masks)


def _parts(space: SearchSpace) -> dict[int, SearchSpace]:
    """The space's parts by width. A subclass of a space of ours may have another supernet, so it
    has parts only where it says so itself.
    """
    ours = type(space).__module__.startswith("vintk_jax.")
    return dict(space.by_width()) if ours or "by_width" in vars(type(space)) else {}


def _spread(widths: list[int], most: int) -> list[int]:
    """Some of the widths, in order, the greatest among them, as evenly as can be."""
    count = min(most, len(widths))
    places = np.linspace(len(widths) - 1, -1, count, endpoint=False).round().astype(int)
    return [widths[place] for place in sorted(places)]
