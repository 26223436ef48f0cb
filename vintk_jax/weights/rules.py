"""A naming scheme: how other people's names and layouts become ours.

Our paths are those of an unrolled model without norms by length, joined by slashes:
`block_3/attention/qkv/kernel`. Each scheme has a module beside this one with its rules. `mapped`
applies them, and keeps what is missing and what no rule asks for.
"""

import dataclasses
import re
from collections.abc import Callable, Collection, Mapping

import numpy as np

from vintk_jax.weights.files import Opened


def unchanged(array: np.ndarray) -> np.ndarray:
    """An array that both sides lay out alike."""
    return array


@dataclasses.dataclass(frozen=True)
class Rule:
    """One of our weights.

    Attributes:
        names: of theirs that it is made from.
        make: what makes it from them, in that order.
    """

    names: tuple[str, ...]
    make: Callable[..., np.ndarray] = unchanged


Rules = dict[str, Rule]


@dataclasses.dataclass(frozen=True)
class Scheme:
    """A naming scheme.

    Attributes:
        title: as messages call it.
        mark: a name that only its files have.
        block: a pattern of its names whose first group is the number of a block.
        rules: (all names, how many blocks) -> the rules.
        head: what names of everything behind the last norm begin with.
        pixels: one of `pixels.KNOWN`, how its models standardise pixels where nothing says
            otherwise.
        prefixes: that may stand ahead of all names.
        supernet: whether narrower and shallower models are cut out of it.
    """

    title: str
    mark: str
    block: str
    rules: Callable[[Mapping[str, np.ndarray], int], Rules]
    head: tuple[str, ...]
    pixels: str
    prefixes: tuple[str, ...] = ()
    supernet: bool = False

    def prefix(self, names: Collection[str]) -> str | None:
        """What stands ahead of all names of a file, if it is of this scheme."""
        return next(
            (prefix for prefix in ("", *self.prefixes) if prefix + self.mark in names), None
        )


@dataclasses.dataclass(frozen=True)
class Mapped:
    """A file's weights under our paths.

    Attributes:
        arrays: by path; names: of theirs, by path.
        missing: by path, the names that the file lacks.
        unused: names that no rule asks for.
        depth: blocks in the file.
    """

    opened: Opened
    scheme: Scheme
    arrays: dict[str, np.ndarray]
    names: dict[str, tuple[str, ...]]
    missing: dict[str, tuple[str, ...]]
    unused: tuple[str, ...]
    depth: int


def transposed(weight: np.ndarray) -> np.ndarray:
    """A linear layer's weight, from (outputs, inputs)."""
    return weight.T


def without_batch(table: np.ndarray) -> np.ndarray:
    """A table of positions, from (1, rows, columns)."""
    return table[0]


def convolution(weight: np.ndarray) -> np.ndarray:
    """A patch kernel, from (outputs, channels, rows, columns)."""
    return weight.transpose(2, 3, 1, 0)


def linear(ours: str, theirs: str, bias: bool = True) -> Rules:
    """The two arrays of one of PyTorch's linear layers."""
    weight = {f"{ours}/kernel": Rule((f"{theirs}.weight",), transposed)}
    return weight | ({f"{ours}/bias": Rule((f"{theirs}.bias",))} if bias else {})


def norm(ours: str, theirs: str) -> Rules:
    """The two arrays of one of PyTorch's norms."""
    return {f"{ours}/scale": Rule((f"{theirs}.weight",)), f"{ours}/bias": Rule((f"{theirs}.bias",))}


def patches(theirs: str) -> Rules:
    """The two arrays of a patch embedding that is one of PyTorch's convolutions."""
    return {
        "patch_embed/kernel": Rule((f"{theirs}.weight",), convolution),
        "patch_embed/bias": Rule((f"{theirs}.bias",)),
    }


def count_blocks(names: Collection[str], pattern: str) -> int:
    """One more than the greatest number of a block in names, or 0 without any."""
    matches = [re.match(pattern, name) for name in names]
    return max((int(match[1]) + 1 for match in matches if match), default=0)


def mapped(opened: Opened, scheme: Scheme, depth: int) -> Mapped:
    """Apply a scheme's rules.

    Args:
        depth: blocks of the model that the weights are for, so that whole blocks may be missing.
    """
    prefix = scheme.prefix(opened.arrays) or ""
    arrays = {name.removeprefix(prefix): array for name, array in opened.arrays.items()}
    there = count_blocks(arrays, scheme.block)
    rules = scheme.rules(arrays, max(there, depth))
    missing = {
        path: tuple(n for n in rule.names if n not in arrays) for path, rule in rules.items()
    }
    missing = {path: names for path, names in missing.items() if names}
    made = {
        path: rule.make(*(arrays[name] for name in rule.names))
        for path, rule in rules.items()
        if path not in missing
    }
    asked = {name for rule in rules.values() for name in rule.names}
    unused = tuple(name for name in arrays if name not in asked)
    return Mapped(
        opened,
        scheme,
        made,
        {path: rule.names for path, rule in rules.items()},
        missing,
        unused,
        there,
    )
