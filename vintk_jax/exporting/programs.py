"""A trained model as programs that need none of our code: one for each length, and what assigns
lengths.
"""

import dataclasses
import logging
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import export

from vintk_jax.adaptive.answers import features_of
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import OneLength, Predictor

PLATFORMS = ("cpu", "cuda", "tpu")
FORMATS = ("stablehlo", "onnx")


@dataclasses.dataclass(frozen=True)
class Program:
    """A pure function, and what it is called with.

    Attributes:
        function: (list of arrays, inputs) -> tuple of arrays; the first axis of inputs and outputs
            is the batch.
        weights: the arrays.
        inputs: shape (without the batch) and type of the inputs.
    """

    function: Callable[[list[jax.Array], jax.Array], tuple[jax.Array, ...]]
    weights: list[jax.Array]
    inputs: jax.ShapeDtypeStruct

    @classmethod
    def of(
        cls,
        function: Callable[[Any, jax.Array], tuple[jax.Array, ...]],
        variables: Any,
        shape: tuple[int, ...],
        dtype: Any,
    ) -> "Program":
        """From a function of a tree of variables."""
        leaves, tree = jax.tree.flatten(variables)

        def of_leaves(weights, inputs):
            return function(jax.tree.unflatten(tree, weights), inputs)

        return cls(of_leaves, leaves, jax.ShapeDtypeStruct(shape, dtype))

    def stablehlo(self) -> bytes:
        """StableHLO with a free batch size, for `PLATFORMS`. The weights are arguments."""
        batch = export.symbolic_shape("batch")
        inputs = jax.ShapeDtypeStruct((*batch, *self.inputs.shape), self.inputs.dtype)
        weights = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in self.weights]
        return bytes(
            export.export(jax.jit(self.function), platforms=PLATFORMS)(weights, inputs).serialize()
        )

    def onnx(self) -> bytes:
        """An ONNX model with a free batch size, its weights inside; by jax2onnx.

        Raises:
            UserError: without jax2onnx.
        """
        try:
            from jax2onnx import to_onnx
        except ImportError as error:
            raise UserError(
                f"ONNX is written by jax2onnx, which is not installed ({error}). Install it "
                "without what it pins, which is an older orbax: "
                "pip install --no-deps -r requirements-onnx.txt"
            ) from error
        # it warns of shapes whose type it doesn't need
        logging.getLogger("onnx_ir").setLevel(logging.ERROR)
        # and of its examples that want other packages
        logging.getLogger("jax2onnx.plugins.plugin_system").setLevel(logging.ERROR)
        inputs = jax.ShapeDtypeStruct(("batch", *self.inputs.shape), self.inputs.dtype)

        def with_weights(inputs):
            return self.function(self.weights, inputs)

        return to_onnx(with_weights, [inputs]).SerializeToString()


def programs_of(predictor: Predictor, assigner: Assigner | None) -> dict[str, Program]:
    """The programs of an export, by name.

    - A length's name: uint8 images -> probabilities, and features where the assigner reads them.
    - "assigner": images -> the number of a length.
    - "assigner-i": features of a pass at length i -> the number of a length, i to stay.

    Numbers count from the cheapest length.
    """
    names = tuple(reversed(predictor.names))
    stages = [] if assigner is None else assigner.stages()
    with_features = {stage.after for stage in stages}
    programs = {}
    for number, name in enumerate(names):
        length = predictor.length(name)
        function = _with_features(length) if number in with_features else _alone(length)
        programs[name] = Program.of(function, length.variables, predictor.shape, jnp.uint8)
    for stage in stages:
        inputs = jax.ShapeDtypeStruct((1, *predictor.shape), jnp.uint8)
        if stage.after is not None:
            before = programs[names[stage.after]]
            inputs = jax.eval_shape(before.function, before.weights, inputs)[1]
        programs[stage.name] = Program.of(
            stage.choose, stage.params, inputs.shape[1:], inputs.dtype
        )
    return programs


def _alone(length: OneLength) -> Callable:
    """Images -> (probabilities,)."""

    def run(variables, images):
        return length(variables, images)[:1]

    return run


def _with_features(length: OneLength) -> Callable:
    """Images -> (probabilities, features)."""

    def run(variables, images):
        probabilities, tokens = length(variables, images)
        return probabilities, features_of(probabilities, tokens)

    return run
