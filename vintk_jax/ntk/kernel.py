"""The one entry to empirical NTKs: which cotangents (`cotangents`), which implementation, how much
memory.
"""

from collections.abc import Callable, Mapping
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Shaped

from vintk_jax.errors import UserError
from vintk_jax.ntk import structured
from vintk_jax.ntk.cotangents import given_or_drawn
from vintk_jax.ntk.layer_measures import KERNEL, Measure
from vintk_jax.ntk.model_check import Structure, check_model, output_shape

IMPLEMENTATIONS = ("structured", "neural_tangents", "neural_tangents_ntvp")


def _apply_function(model: nn.Module | Callable, masks) -> Callable:
    """The model as a function (params, inputs) -> outputs."""
    if not isinstance(model, nn.Module):
        return model
    options = {} if masks is None else {"masks": masks}

    def apply(params, inputs):
        return model.apply(params, inputs, **options)

    return apply


def kernel(
    model: nn.Module | Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    *,
    cotangent: str | Array = "sum",
    key: jax.Array | None = None,
    num_directions: int = 1,
    masks: dict | None = None,
    implementation: str = "structured",
    chunk: int | None = None,
    dtype: DTypeLike = jnp.float32,
    precision: str = "highest",
    verify: bool | None = None,
    structure: Structure | None = None,
) -> Float[Array, "n n"]:
    """The empirical NTK of a network on a batch; may be called under `jax.jit`, `vmap`, `lax.map`.

    Args:
        model: a Linen module, or a function (params, inputs) -> outputs made of Linen modules (any
            function for neural-tangents).
        params: variables as `model.init` gives them, {"params": ...}.
        inputs: n samples; integers, tokens say, stay integers.
        cotangent: "sum", "random", "full", or the directions themselves, (*outputs, count).
        key, num_directions: for "random".
        masks: passed on to the model (see `ViT`).
        implementation: "structured" (fast, Linen layers with rules), "neural_tangents" (Jacobian
            contraction), or "neural_tangents_ntvp" (NTK-vector products); the last two need no
            rules.
        chunk: samples at a time; None takes all. Pairs of chunks are run together, so memory falls
            to 2 chunk / n and time grows by n / chunk - 1.
        dtype: of computation and result; float64 needs `jax_enable_x64`.
        precision: of matrix products, as `jax.default_matmul_precision` has it. On a GPU
            "tensorfloat32" is several times as fast and keeps 10 bits of a factor: the small
            eigenvalues are lost.
        verify: whether the structured kernel of two samples is first compared with their
            gradients (`ntk.verify`): some seconds, once for a model and its shapes. None: only for
            models that aren't of vintk_jax.
        structure: what `structure_of` says of the model, or of one with the same layers of other
            widths; None: the model is traced and checked, most of what tracing a kernel takes.

    Under `jax.jit` and other transforms there are no numbers to compare, and nothing is verified.
    What the structured path would then get wrong without an error is a model that mixes samples
    (batch statistics), transforms its parameters on the way to a layer (`nn.map_variables`), or
    stops them; use "neural_tangents" there.

    Returns:
        A symmetric positive semi-definite matrix, up to rounding. Parameters count with weight one
        each (no NTK parameterisation).

    Raises:
        UserError: for an unknown cotangent or implementation.
        UnsupportedModel: for a model that the structured path would get wrong.
    """
    if implementation not in IMPLEMENTATIONS:
        raise UserError(
            f"Expected ntk.implementation to be one of {', '.join(IMPLEMENTATIONS)}, got "
            f"{implementation!r}."
        )
    if chunk is not None and chunk < 1:
        raise UserError(f"Expected a chunk of 1 sample at least, or None for all, got {chunk}.")
    apply = _apply_function(model, masks)
    params, inputs = _cast(params, inputs, dtype)

    def directions_for(shape):
        return given_or_drawn(cotangent, shape, key, num_directions, dtype)

    with jax.default_matmul_precision(precision):
        if implementation == "structured":
            structure = structure or check_model(apply, params, inputs)
            vectors = directions_for(structure.outputs)
            _verify(verify, model, apply, params, inputs, masks)
            of_batch = partial(
                structured.kernel,
                apply,
                params,
                directions=vectors,
                structure=structure,
                dtype=dtype,
            )
        else:
            # Imports neural-tangents: seconds, only for who asks for it.
            from vintk_jax.ntk import reference

            outputs = jax.eval_shape(apply, params, inputs)
            vectors = directions_for(output_shape(outputs, inputs.shape[0]))
            of_batch = partial(
                reference.kernel,
                apply,
                params,
                directions=vectors,
                implementation=implementation,
            )
        if chunk is None or chunk >= inputs.shape[0]:
            return of_batch(inputs)
        return _in_chunks(of_batch, inputs, chunk)


def structure_of(
    model: nn.Module | Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    masks: dict | None = None,
) -> Structure:
    """What the structured kernel has to know of a model: a trace of it, checked.

    Raises:
        UnsupportedModel: for a model that the structured path would get wrong.
    """
    return check_model(_apply_function(model, masks), nn.meta.unbox(params), inputs)


def _cast(params: dict, inputs: Array, dtype: DTypeLike) -> tuple[dict, Array]:
    """Parameters and inputs in the kernel's precision; integers (tokens of a text) stay, and boxes
    around parameters (`nn.Partitioned`) go.
    """

    def cast(leaf: Array) -> Array:
        return leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf

    return jax.tree.map(cast, (nn.meta.unbox(params), inputs))


def _verify(wanted: bool | None, model, apply: Callable, params: dict, inputs, masks) -> None:
    """Compare the structured kernel with the gradients', where that is wanted and possible."""
    if wanted is None:
        wanted = not type(model).__module__.startswith("vintk_jax.")
    arrays = jax.tree.leaves((params, inputs, masks))
    if wanted and not any(isinstance(leaf, jax.core.Tracer) for leaf in arrays):
        from vintk_jax.ntk.verify import verify

        shapes = [(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(masks)]
        verify(apply, params, inputs, (model, *shapes) if masks is not None else model)


def by_layer(
    model: nn.Module | Callable,
    params: dict,
    inputs: Shaped[Array, "n ..."],
    *,
    measure: Measure = KERNEL,
    cotangent: str | Array = "sum",
    key: jax.Array | None = None,
    num_directions: int = 1,
    masks: dict | None = None,
    dtype: DTypeLike = jnp.float32,
    verify: bool | None = None,
) -> dict[str, Float[Array, "..."]]:
    """The kernel of each layer, or another measure of it, in the one backward pass of `kernel`.

    Args:
        measure: `layer_measures.KERNEL`: the layer's share of the kernel, (n, n), of which the sum
            over layers is `kernel`; or a statistic of its inputs and cotangents
            (`layer_measures.Factors`).

    The other arguments are those of `kernel`, of which this is the structured path.

    Returns:
        By the path of the layer, as in "block_0/attention/qkv"; where blocks are scanned, stacked
        over them, as in "blocks/block/attention/qkv" (depth, n, n). Layers without parameters have
        no share. What masks have switched off has zeros.

    Raises:
        UserError: for an unknown cotangent.
        UnsupportedModel: for a model that the structured path would get wrong.
    """
    apply = _apply_function(model, masks)
    params, inputs = _cast(params, inputs, dtype)
    with jax.default_matmul_precision("highest"):
        structure = check_model(apply, params, inputs)
        vectors = given_or_drawn(cotangent, structure.outputs, key, num_directions, dtype)
        _verify(verify, model, apply, params, inputs, masks)
        return structured.by_layer(apply, params, inputs, vectors, structure, measure, dtype)


def by_type(
    layers: Mapping[str, Float[Array, "..."]],
) -> dict[str, list[Float[Array, "..."]]]:
    """What `by_layer` gives, by the last part of a layer's path: "qkv", "proj", "fc1", "fc2",
    "patch_embed", "head". Each has all layers of that name, in the model's order.
    """
    types: dict[str, list] = {}
    for path, values in layers.items():
        types.setdefault(path.rpartition("/")[2], []).append(values)
    return types


def _in_chunks(
    of_batch: Callable, inputs: Float[Array, "n ..."], chunk: int
) -> Float[Array, "n n"]:
    """Kernels of all pairs of chunks, put together. Each pair is one batch of 2 chunk samples."""
    n = inputs.shape[0]
    if n % chunk:
        raise UserError(f"Expected a chunk that divides {n} samples, got {chunk}.")
    count = n // chunk
    first, second = jnp.triu_indices(count, k=1)
    parts = inputs.reshape(count, chunk, *inputs.shape[1:])

    def of_pair(places):
        i, j = places
        return of_batch(jnp.concatenate([parts[i], parts[j]]))

    pairs = jax.lax.map(of_pair, (first, second))
    k = jnp.zeros((count, count, chunk, chunk), pairs.dtype)
    k = k.at[first, first].set(pairs[:, :chunk, :chunk])
    k = k.at[second, second].set(pairs[:, chunk:, chunk:])
    k = k.at[first, second].set(pairs[:, :chunk, chunk:])
    k = k.at[second, first].set(pairs[:, chunk:, :chunk])
    return k.transpose(0, 2, 1, 3).reshape(n, n)
