"""What a test set says of a model's parameters."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from vintk_jax.data import loader
from vintk_jax.data.sources import Source
from vintk_jax.pieces import bytes_of, in_pieces
from vintk_jax.training import sharding
from vintk_jax.training.setup import Setup


class Evaluator:
    """The objective's measure of parameters on a source at every length, by one program."""

    def __init__(self, setup: Setup, source: Source):
        self._setup = setup
        self._source = source
        params = jax.tree.map(lambda leaf: leaf.sharding, setup.like.params)
        of_batch = jax.sharding.NamedSharding(setup.mesh, sharding.BATCH)
        task = setup.task
        predicts = [task.predict(task.spec.model, grid) for grid in task.spec.grids]

        def count(params, batch):
            answers = [self._answers(partial(predict, params), batch) for predict in predicts]
            return jnp.stack([task.objective.count(answer, batch) for answer in answers])

        if sharding.shares(setup.mesh):
            count = _shared(count, setup.mesh)
        # One program for all lengths: two at a time, each with sums over processes, may wait for
        # each other's for ever.
        self._count = jax.jit(count, in_shardings=(params, of_batch))

    def _answers(self, predict, batch):
        """Of a batch, or a device's part of it, in pieces; whole where XLA cuts it up."""
        images = batch["image"]
        mesh = self._setup.mesh
        if mesh.size > 1 and not sharding.shares(mesh):
            return predict(images)
        one = jax.ShapeDtypeStruct((1, *images.shape[1:]), images.dtype)
        return in_pieces(predict, images, partial(bytes_of, predict, one), mesh.size)

    def __call__(self, params: Any) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
        """By the name of the length: the measure, and its details by class where the objective has
        any.
        """
        config = self._setup.config
        task = self._setup.task
        batches = loader.eval_batches(
            self._source,
            task.eval_transform,
            batch_size=config.data.batch_size,
            host=jax.process_index(),
            hosts=jax.process_count(),
        )
        total = 0.0
        for batch in batches:
            placed = sharding.put_batch(self._setup.mesh, batch)
            total = total + np.asarray(self._count(params, placed), np.float64)
        measures = {}
        by_class = {}
        for name, of_length in zip(task.spec.names, total, strict=True):
            measures[name], details = task.objective.measured(of_length, self._source.classes)
            if details:
                by_class[name] = details
        return measures, by_class


def _shared(count: Callable, mesh: Mesh) -> Callable:
    """What `count` adds up over the parts of a batch that a mesh's devices have."""

    def summed(params, batch):
        return jax.lax.psum(count(params, batch), mesh.axis_names)

    return sharding.over_parts(summed, mesh)
