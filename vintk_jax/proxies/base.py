"""What a proxy is: a score made of measurements of an architecture that has not been trained.

Three lines define one, by what it is measured on:

    # of tangent kernels, on the host
    Proxy.of_kernels("my_score", lambda kernels: ..., "plain", "fourier")
    # of the untrained network, compiled
    Proxy.of_network(my_measure)
    # of the architecture alone
    Proxy.of_architecture("my_count", lambda space, arch: ...)
"""

import dataclasses
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from vintk_jax.ntk.layer_measures import Measure

# By name: an array; of a measure by layer, arrays by the layer's path.
Measured = Mapping[str, np.ndarray | Mapping[str, np.ndarray]]
STEM = " stem"
PLAIN = "plain"


@dataclasses.dataclass(frozen=True)
class Network:
    """An untrained network with a batch for it. With masks it is an architecture within the
    supernet: dead parameters have no effect.

    Attributes:
        model: the Linen module.
        params: its variables, {"params": ...}.
        images: the inputs: standardised photographs, (n, height, width, channels), or clips, with
            the frames ahead of the height.
        masks: of the architecture, or None for a model of its own.
        num_classes: outputs.
        key: for whatever is drawn.
    """

    model: nn.Module
    params: dict
    images: Float[Array, " n *image"]
    masks: dict | None
    num_classes: int
    key: jax.Array

    def apply(
        self, params: dict, images: Float[Array, " n *image"]
    ) -> Float[Array, "n *places classes"]:
        """Logits, of each image or of each pixel."""
        options = {} if self.masks is None else {"masks": self.masks}
        return self.model.apply(params, images, **options)

    def labels(self) -> Int[Array, " n *places"]:
        """A class for each image (or pixel), drawn: the built-in photographs have none (our
        choice).
        """
        shape = jax.eval_shape(self.apply, self.params, self.images).shape[:-1]
        return jax.random.randint(self.key, shape, 0, self.num_classes, dtype=jnp.int32)

    def loss(
        self, params: dict, images: Float[Array, " n *image"], labels: Int[Array, " n *places"]
    ) -> Float[Array, ""]:
        """Mean cross-entropy."""
        log_chances = jax.nn.log_softmax(self.apply(params, images))
        return -jnp.mean(jnp.take_along_axis(log_chances, labels[..., None], axis=-1))


@dataclasses.dataclass(frozen=True)
class Measurement:
    """Something measured of an architecture.

    Attributes:
        name: under which the proxy finds the result. Of a kernel: the view of the inputs ("plain",
            "fourier"), and with " stem" behind it the kernel on that view of what is left when all
            blocks are taken out (embedding, norm, classifier).
        of: a tangent kernel (n, n); a measure of each layer, from the kernel's backward pass; the
            untrained `Network`, by a function that JAX compiles; the architecture alone.
        function: for layers, an `ntk.measures.Measure`; for a network, Network -> array; for an
            architecture, (space, architecture) -> number; None for a kernel.
        on: the view of the inputs that layers are measured on.
    """

    name: str
    of: Literal["kernel", "layers", "network", "architecture"]
    function: Any = None
    on: str = PLAIN

    @property
    def stem(self) -> bool:
        """Whether it is the kernel of the network without its blocks."""
        return self.of == "kernel" and self.name.endswith(STEM)

    @property
    def view(self) -> str:
        """The view of the inputs that it is taken on; a network is measured on the plain images."""
        return {"kernel": self.name.removesuffix(STEM), "layers": self.on}.get(self.of, PLAIN)

    @property
    def group(self) -> str:
        """What is measured together: a kernel's view, else the measurement itself."""
        return self.name.removesuffix(STEM) if self.of == "kernel" else self.name


@dataclasses.dataclass(frozen=True)
class Proxy:
    """A score of an architecture; the higher the better.

    Attributes:
        name: as in `score.name`.
        measurements: what it needs.
        score: from measured arrays by name to a number; to several where the proxy has a `join`.
        join: for proxies that compare candidates with each other: (candidates, numbers) -> one
            score each, known only once all are measured.
        definition: another number where the name has meant another score before: scores of two
            definitions are never mixed in one workdir.
    """

    name: str
    measurements: tuple[Measurement, ...]
    score: Callable[[Measured], Any]
    join: (
        Callable[[Float[np.ndarray, "candidates numbers"]], Float[np.ndarray, " candidates"]] | None
    ) = None
    definition: int = 1

    @property
    def meaning(self) -> str:
        """The first paragraph of what the score's function says of itself; empty if it says
        nothing.
        """
        first, _, _ = (inspect.getdoc(self.score) or "").partition("\n\n")
        return " ".join(first.split())

    @classmethod
    def of_kernels(cls, name: str, score: Callable[[Measured], float], *views: str) -> "Proxy":
        """A function of the kernels on some views of the inputs, or of their stems (see
        `Measurement.name`).
        """
        return cls(name, tuple(Measurement(view, "kernel") for view in views), score)

    @classmethod
    def of_layers(
        cls, name: str, measure: Measure, score: Callable[[Measured], float], *views: str
    ) -> "Proxy":
        """A function of a measure of each layer: from {view: {path of the layer: array}}, as
        `ntk.by_layer` gives them.
        """
        names = {view: f"{name} by layer, {view}" for view in views}
        measurements = (Measurement(names[view], "layers", measure, view) for view in views)

        def of_views(measured: Measured) -> float:
            return score({view: measured[names[view]] for view in views})

        return cls(name, tuple(measurements), of_views)

    @classmethod
    def of_network(
        cls,
        measure: Callable[[Network], Array],
        score: Callable[[np.ndarray], float] = float,
        name: str = "",
    ) -> "Proxy":
        """A function of the untrained network, and what turns its result into the score."""
        name = name or measure.__name__

        def of_measured(measured: Measured) -> float:
            return score(measured[name])

        return cls(name, (Measurement(name, "network", measure),), of_measured)

    @classmethod
    def of_architecture(cls, name: str, count: Callable[[Any, Any], float]) -> "Proxy":
        """A function of (space, architecture)."""

        def of_measured(measured: Measured) -> float:
            return float(measured[name])

        return cls(name, (Measurement(name, "architecture", count),), of_measured)


def definitions(proxies: Iterable[Proxy]) -> dict[str, int]:
    """Of scores that are not in their first definition, for `config_claims.claim_workdir`."""
    return {
        f"scores by {proxy.name}": proxy.definition for proxy in proxies if proxy.definition != 1
    }
