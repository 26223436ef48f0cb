"""Into how many pieces a batch is cut on a CPU, so that what is kept of a piece stays in the cache;
and how many CPU devices share it.

A train step reads and writes each activation several times, a forward pass twice or more. While
those of a piece fit into the last cache, that costs little; a whole batch's go to memory and back.
On accelerators, whose memory is fast, a batch stays whole.
"""

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params

# How many times the last cache the outputs of all operations of a forward pass may be: of a batch
# that stays whole, and of a piece of one that doesn't (XLA writes few of them to memory, and each
# piece costs a sum of gradients). Where several devices share the cache, each a piece of its own
# at the same time, one number does for both. Measured, not derived: benchmarks/piece_sizes.py.
_WHOLE = 24
_PIECE = 16
_SHARED = 6
# A batch whose outputs are fewer times the last cache is left to one device: it is too little work
# for two, and images are prepared beside it. Measured with `vintk_jax.train` on the digits.
_WORTH_SHARING = 4
_LEAST = 8  # images of a batch that a device is given (our choice)
_UNKNOWN = 2**25  # bytes of a cache that the system says nothing of
_CPU = Path("/sys/devices/system/cpu/cpu0/cache")


@functools.cache
def cache_bytes() -> int:
    """The size of the last cache that the first core reads through; 32 MiB where the system doesn't
    say.
    """
    units = {"K": 2**10, "M": 2**20, "G": 2**30}
    sizes = []
    for path in _CPU.glob("index*/size"):
        text = path.read_text().strip()
        if text[:-1].isdigit() and text[-1] in units:
            sizes.append(int(text[:-1]) * units[text[-1]])
    return max(sizes, default=_UNKNOWN)


def bytes_of(function: Callable, *arguments: Any) -> int:
    """Bytes of the outputs of all operations in one call but reshapes, slices and repeated numbers;
    a loop's as often as it runs.

    Args:
        arguments: arrays, or `jax.ShapeDtypeStruct`s in their places.
    """
    return _of_jaxpr(jax.make_jaxpr(function)(*arguments).jaxpr)


def _of_jaxpr(jaxpr: Any) -> int:
    total = 0
    for eqn in jaxpr.eqns:
        inner = list(jaxprs_in_params(eqn.params))
        times = eqn.params["length"] if eqn.primitive.name == "scan" else 1
        if eqn.primitive.name in ("reshape", "slice", "broadcast_in_dim"):
            continue  # numbers that are read where they are: nothing is written
        if inner:
            total += times * sum(map(_of_jaxpr, inner))
        else:
            total += sum(math.prod(var.aval.shape) * var.aval.dtype.itemsize for var in eqn.outvars)
    return total


def pieces_for(batch: int, bytes_each: int, cache: int, devices: int = 1) -> int:
    """One for a batch that is small enough whole; else the fewest pieces of equal size that fit the
    cache, of one sample if none do.

    Args:
        batch: samples of a device.
        bytes_each: of `models.passes.bytes_a_sample`.
        cache: in bytes.
        devices: that share the cache.
    """
    whole, piece = (_WHOLE, _PIECE) if devices == 1 else (_SHARED, _SHARED)
    bytes_at_once = devices * bytes_each
    if batch * bytes_at_once <= whole * cache:
        return 1
    fitting = max(piece * cache / bytes_at_once, 1)
    divisors = [count for count in range(1, batch + 1) if not batch % count]
    return next(count for count in divisors if batch // count <= fitting)


def devices_for(batch: int, bytes_each: int, cache: int, devices: int) -> int:
    """How many of the CPU devices share a batch: as many as cut it evenly into parts that aren't
    too small; one for a batch that is little work.

    Args:
        batch: samples.
        bytes_each: of `models.passes.bytes_a_sample`.
        cache: in bytes.
    """
    if batch * bytes_each < _WORTH_SHARING * cache:
        return 1
    fitting = [
        count for count in range(1, devices + 1) if not batch % count and batch // count >= _LEAST
    ]
    return max(fitting, default=1)


def pieces_here(batch: int, bytes_each: Callable[[], int], devices: int = 1) -> int:
    """`pieces_for` this machine's cache; one on accelerators, and for an empty batch.

    Args:
        batch: samples of a device.
        bytes_each: gives what one sample puts out; called on a CPU only, since it traces a model.
        devices: that share the cache.
    """
    if jax.default_backend() != "cpu" or not batch:
        return 1
    return pieces_for(batch, bytes_each(), cache_bytes(), devices)


def in_pieces(
    run: Callable[[Any], Any],
    samples: Any,
    bytes_each: Callable[[], int],
    devices: int = 1,
) -> Any:
    """What `run` gives for the samples, a piece after another on a CPU.

    Args:
        run: handles each sample by itself; what it gives has the samples' first axis.
        samples: an array, or a tree of arrays, whose first axis is that of the samples; their
            number has to be known.
        bytes_each, devices: see `pieces_here`.
    """
    number = len(jax.tree.leaves(samples)[0])
    count = pieces_here(number, bytes_each, devices)
    if count == 1:
        return run(samples)
    cut = jax.tree.map(lambda array: array.reshape(count, -1, *array.shape[1:]), samples)
    found = jax.lax.map(run, cut)
    return jax.tree.map(lambda array: array.reshape(-1, *array.shape[2:]), found)
