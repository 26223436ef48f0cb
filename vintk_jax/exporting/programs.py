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
from vintk_jax.inference.lengths import Lengths
from vintk_jax.inference.predictor import Predictor

PLATFORMS = ("cpu", "cuda", "tpu")
FORMATS = ("stablehlo", "onnx")
AFTER = "-after"  # behind the name of a second pass's program; also in load.py


@dataclasses.dataclass(frozen=True)
class Program:
    """A pure function, and what it is called with.

    Attributes:
        function: (list of arrays, inputs ...) -> tuple of arrays; the first axis of inputs and
            outputs is the batch.
        weights: the arrays.
        inputs: shape (without the batch) and type of each input.
    """

    function: Callable[..., tuple[jax.Array, ...]]
    weights: list[jax.Array]
    inputs: tuple[jax.ShapeDtypeStruct, ...]

    @classmethod
    def of(
        cls,
        function: Callable[..., tuple[jax.Array, ...]],
        variables: Any,
        *inputs: jax.ShapeDtypeStruct,
    ) -> "Program":
        """From a function of a tree of variables."""
        leaves, tree = jax.tree.flatten(variables)

        def of_leaves(weights, *inputs):
            return function(jax.tree.unflatten(tree, weights), *inputs)

        return cls(of_leaves, leaves, inputs)

    def stablehlo(self) -> bytes:
        """StableHLO with a free batch size, for `PLATFORMS`. The weights are arguments."""
        batch = export.symbolic_shape("batch")
        inputs = [jax.ShapeDtypeStruct((*batch, *one.shape), one.dtype) for one in self.inputs]
        weights = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in self.weights]
        exported = export.export(jax.jit(self.function), platforms=PLATFORMS)(weights, *inputs)
        return bytes(exported.serialize())

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
        inputs = [jax.ShapeDtypeStruct(("batch", *one.shape), one.dtype) for one in self.inputs]

        def with_weights(*inputs):
            return self.function(self.weights, *inputs)

        return to_onnx(with_weights, inputs).SerializeToString()


def programs_of(predictor: Predictor, assigner: Assigner | None) -> dict[str, Program]:
    """The programs of an export, by name.

    - A length's name: uint8 images -> probabilities, then features where the assigner reads them,
      then tokens where another length begins with this one's pass.
    - "NAME-after", for a length of two passes: images, and the first pass's tokens -> what the
      length's own program gives.
    - "assigner": images -> the number of a length.
    - "assigner-i": features of a pass at length i -> the number of a length, i to stay.

    Numbers count from the cheapest length.
    """
    lengths = Lengths(predictor)
    stages = [] if assigner is None else assigner.stages()
    asked_after = {stage.after for stage in stages if stage.after is not None}
    image = jax.ShapeDtypeStruct(predictor.shape, jnp.uint8)
    programs = {}
    features = {}
    for number, name in enumerate(lengths.names):
        length = lengths.lengths[number]
        gives = (number in asked_after, bool(asked_after) and lengths.carries(number))
        of_length = Program.of(_giving(length, *gives), length.variables, image)
        programs[name] = of_length
        features[number] = _shape_of_features(of_length) if number in asked_after else None
        tokens = lengths.takes(number)
        if asked_after and tokens is not None:
            carried = jax.ShapeDtypeStruct(tokens, jnp.float32)
            run = _giving(length.own_pass, *gives)
            programs[f"{name}{AFTER}"] = Program.of(run, length.variables, image, carried)
    for stage in stages:
        inputs = image if stage.after is None else features[stage.after]
        programs[stage.name] = Program.of(stage.choose, stage.params, inputs)
    return programs


def _giving(run: Callable, features: bool, tokens: bool) -> Callable:
    """A pass as a program: probabilities, then features and tokens where they are asked for."""

    def giving(variables, *inputs):
        probabilities, left = run(variables, *inputs)
        found = [probabilities]
        if features:
            found.append(features_of(probabilities, left))
        if tokens:
            found.append(left)
        return tuple(found)

    return giving


def _shape_of_features(program: Program) -> jax.ShapeDtypeStruct:
    """Of one image, as a pass gives them."""
    inputs = [jax.ShapeDtypeStruct((1, *one.shape), one.dtype) for one in program.inputs]
    found = jax.eval_shape(program.function, program.weights, *inputs)[1]
    return jax.ShapeDtypeStruct(found.shape[1:], found.dtype)
