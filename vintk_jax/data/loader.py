"""Batches by step: which images a step sees is a function of (seed, step) alone, by Grain's random access.

So a run goes on at any step without reading what came before, and the images of a step are the same on any number of hosts.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import grain
import numpy as np

Batch = dict[str, np.ndarray]
Transform = Callable[[dict[str, Any], np.random.Generator], dict[str, Any]]


def train_batches(
    source: Sequence, transform: Transform, *, batch_size: int, seed: int, host: int = 0, hosts: int = 1
) -> "grain.MapDataset[Batch]":
    """This host's part of the global batch of each step: `train_batches(...)[step]`, without end.

    Epochs are shuffled anew; the random numbers of an image's augmentation depend on the seed and its place in the order.

    Raises:
        ValueError: if the hosts don't divide the batch.
    """
    if batch_size % hosts:
        raise ValueError(f"A batch of {batch_size} can't be shared by {hosts} hosts.")
    images = grain.MapDataset.source(source).seed(seed).shuffle().repeat().random_map(transform)
    return images.batch(batch_size // hosts)[host::hosts]


def from_step(batches: "grain.MapDataset[Batch]", step: int, threads: int) -> Iterator[Batch]:
    """The batches from a step on, made ahead by threads."""
    return iter(batches[step:].to_iter_dataset(grain.ReadOptions(num_threads=threads, prefetch_buffer_size=max(threads, 1) * 2)))


def eval_batches(source: Sequence, transform: Transform, *, batch_size: int, host: int = 0, hosts: int = 1) -> Iterator[Batch]:
    """Every image once, in order, in batches of one shape: what fills up the last has weight 0."""
    share = batch_size // hosts
    rng = np.random.default_rng(0)
    for start in range(host * share, len(source) + host * share, batch_size):
        made = [transform(source[i], rng) for i in range(start, min(start + share, len(source)))]
        if not made:  # this host has none of the last global batch
            made, weight = [transform(source[0], rng)], np.zeros(1)
        else:
            weight = np.ones(len(made))
        filled = made + made[:1] * (share - len(made))
        batch = {key: np.stack([element[key] for element in filled]) for key in made[0]}
        yield {**batch, "weight": np.pad(weight, (0, share - len(weight))).astype(np.float32)}
