"""What is measured of each layer in the backward pass: its share of the kernel, or a statistic of
the factors that the share is made of.

A linear layer's inputs X and output cotangents D, both with a row for each token of each sample,
are the factors of its tangent kernel: K-FAC (Martens and Grosse 2015, arXiv 1503.05671) takes the
layer's Fisher matrix for the Kronecker product of X'X and D'D.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from vintk_jax.ntk.contractions import depthwise_gram, gram, linear_gram


class Measure:
    """What a layer hands to its tap. Hashable: a frozen dataclass."""

    def shape(self, samples: int) -> tuple[int, ...]:
        """Shape of the result for so many samples."""
        raise NotImplementedError

    def linear(self, x: Float[Array, "n t a"], d: Float[Array, "n t b"], *, bias: bool) -> Array:
        """Of a linear layer, from its inputs and the cotangents of its outputs."""
        raise NotImplementedError

    def depthwise(
        self,
        x: Float[Array, "n height width inputs"],
        d: Float[Array, "n rows columns features"],
        options: dict[str, Any],
    ) -> Array:
        """Of a depth-wise convolution without padding.

        `options` are those of `contractions.depthwise_gram`.
        """
        raise NotImplementedError

    def gradients(self, gradients: Sequence[Float[Array, "n ..."]]) -> Array:
        """Of any other layer, from its gradients for each sample."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True)
class Kernel(Measure):
    """The layer's share of the kernel, (n, n): the shares of all layers add up to the kernel."""

    def shape(self, samples: int) -> tuple[int, ...]:
        """(n, n)."""
        return (samples, samples)

    def linear(self, x, d, *, bias):
        """See `contractions.linear_gram`."""
        return linear_gram(x, d, bias=bias)

    def depthwise(self, x, d, options):
        """See `contractions.depthwise_gram`."""
        return depthwise_gram(x, d, **options)

    def gradients(self, gradients):
        """The inner products of the gradients."""
        return gram(gradients)


KERNEL = Kernel()


@dataclasses.dataclass(frozen=True)
class Factors(Measure):
    """A statistic of the two factors of each linear layer; zero for other layers.

    Attributes:
        statistic: (X, D) -> numbers, from one row for each token of each sample: X (rows, a), with
            a column of ones where the layer has a bias, and D (rows, b). JAX compiles it. Columns
            that masks have switched off are zero.
        size: how many numbers.
    """

    statistic: Callable[[Float[Array, "rows a"], Float[Array, "rows b"]], Float[Array, " size"]]
    size: int

    def shape(self, samples: int) -> tuple[int, ...]:
        """(size,)."""
        return (self.size,)

    def linear(self, x, d, *, bias):
        """The statistic."""
        x = x.reshape(-1, x.shape[-1])
        if bias:
            x = jnp.concatenate([x, jnp.ones((len(x), 1), x.dtype)], axis=1)
        return self.statistic(x, d.reshape(-1, d.shape[-1])).astype(x.dtype)

    def depthwise(self, x, d, options):
        """Zeros."""
        return jnp.zeros((self.size,), x.dtype)

    def gradients(self, gradients):
        """Zeros."""
        return jnp.zeros((self.size,), gradients[0].dtype)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class Tap:
    """Where a layer's measure goes: an argument whose cotangent it becomes.

    Attributes:
        values: zeros of the measure's shape.
        measure: what is measured.
        samples: n.
    """

    values: Any  # an array; while JAX looks at a tree's structure, some other object
    measure: Measure = dataclasses.field(metadata={"static": True})
    samples: int = dataclasses.field(metadata={"static": True})

    @classmethod
    def zeros(cls, measure: Measure, samples: int, dtype: Any) -> "Tap":
        """A tap for one layer, or for the sum over layers."""
        return cls(jnp.zeros(measure.shape(samples), dtype), measure, samples)

    @property
    def dtype(self) -> Any:
        """That measures are computed in."""
        return self.values.dtype

    def taking(self, values: Array) -> "Tap":
        """The same with other values: a cotangent."""
        return dataclasses.replace(self, values=values)
