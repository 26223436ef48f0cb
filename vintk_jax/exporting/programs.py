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

from vintk_jax.adaptive.answers import features_of, thumbnails
from vintk_jax.adaptive.plans import Assigner
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import Predictor

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
    programs = {}
    looks = len(assigner.params) if assigner and assigner.shares else 0
    for number, name in enumerate(names):
        one = predictor.length(name)

        def plain(variables, images, one=one):
            return one(variables, images)[:1]

        def with_features(variables, images, one=one):
            answer, tokens = one(variables, images)
            return answer, features_of(answer, tokens)

        function = with_features if number < looks else plain
        programs[name] = Program.of(function, one.variables, predictor.shape, jnp.uint8)
    if assigner is None:
        return programs
    price = jnp.float32(assigner.price)
    if not assigner.shares:

        def choose_by_thumbnail(params, images):
            return (assigner.choose(params, price, thumbnails(images, assigner.thumbnail), None),)

        return {
            **programs,
            "assigner": Program.of(
                choose_by_thumbnail, assigner.params[0], predictor.shape, jnp.uint8
            ),
        }
    for number, params in enumerate(assigner.params):
        name = names[number]
        image = jax.ShapeDtypeStruct((1, *predictor.shape), jnp.uint8)
        features = jax.eval_shape(programs[name].function, programs[name].weights, image)[1]

        def choose_by_features(params, features, number=number):
            return (assigner.choose(params, price, features, number),)

        programs[f"assigner-{number}"] = Program.of(
            choose_by_features, params, features.shape[1:], features.dtype
        )
    return programs
