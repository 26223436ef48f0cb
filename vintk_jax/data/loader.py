"""Batches by step. Which images a step sees is a function of (seed, step) alone, by Grain's random
access.

So a run goes on at any step without reading what came before, and the images of a step are the same
on any number of hosts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

from vintk_jax.errors import UserError

Batch = dict[str, np.ndarray]
Transform = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def train_batches(
    source: Sequence,
    transform: Transform,
    *,
    batch_size: int,
    seed: int,
    host: int = 0,
    hosts: int = 1,
) -> "grain.MapDataset[Batch]":
    """This host's part of the global batch of each step: `train_batches(...)[step]`, without end.

    Every epoch has an order of its own. The random numbers of an image's augmentation depend on the
    seed and its place in the order.

    Raises:
        ValueError: if the hosts don't divide the batch.
    """
    if batch_size % hosts:
        raise ValueError(f"A batch of {batch_size} can't be shared by {hosts} hosts.")
    images = grain.MapDataset.source(source).seed(seed).shuffle().repeat().random_map(transform)
    return images.batch(batch_size // hosts)[host::hosts]


def from_step(batches: "grain.MapDataset[Batch]", step: int, threads: int) -> Iterator[Batch]:
    """The batches from a step on, made ahead by threads."""
    return iter(
        batches[step:].to_iter_dataset(
            grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 1) * 2)
        )
    )


def eval_batches(
    source: Sequence, transform: Transform, *, batch_size: int, host: int = 0, hosts: int = 1
) -> Iterator[Batch]:
    """Every image once, in order, in batches of one shape: what fills up the last has weight 0."""
    share = batch_size // hosts
    rng = np.random.default_rng(0)
    for start in range(host * share, len(source) + host * share, batch_size):
        elements = [
            transform(source[i], rng) for i in range(start, min(start + share, len(source)))
        ]
        weight = np.zeros(share, np.float32)
        weight[: len(elements)] = 1
        # The first image fills up; a host that has none of the last global batch takes one.
        filler = elements[0] if elements else transform(source[0], rng)
        elements += [filler] * (share - len(elements))
        batch = {key: np.stack([element[key] for element in elements]) for key in filler}
        yield {**batch, "weight": weight}


def in_order(
    source: Sequence, transform: Transform, start: int, threads: int
) -> Iterator[dict[str, Any]]:
    """Every image from a number on, once, read ahead by threads. One that can't be read gives
    {"error": what was wrong} in its place.
    """
    images = grain.MapDataset.source(_Careful(source, transform))[start:]
    return iter(
        images.to_iter_dataset(
            grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 1) * 16)
        )
    )


class _Careful(Sequence):
    """A source's images, made ready, whose errors are elements too."""

    def __init__(self, source: Sequence, transform: Transform):
        self._source = source
        self._transform = transform

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> dict[str, Any]:
        try:
            return self._transform(self._source[index], np.random.default_rng(0))
        except UserError as error:
            return {"error": str(error)}
