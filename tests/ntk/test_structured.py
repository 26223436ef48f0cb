"""The structured kernel of whole models against the explicit Jacobian in float64, and against
neural-tangents.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from one_layer import DIRECTION, Around, in_float64, normal, structured_kernel

from vintk_jax import ntk
from vintk_jax.models.vit import ViT

TINY = {
    "embed_dim": 12,
    "num_heads": (2, 2),
    "hidden": (18, 18),
    "head_dim": 6,
    "num_classes": 3,
    "patch_size": 8,
    "native_grid": (4, 4),
    "max_distance": 2,
}
IMAGES = normal(4, 32, 32, 3)
MASKS = {
    "embed": jnp.asarray(np.arange(12) < 9, jnp.float32),
    "alive": jnp.asarray([1.0, 0.0]),
    "heads": jnp.asarray([[1.0, 0.0], [0.0, 0.0]]),
    "hidden": jnp.asarray(np.arange(18) < np.array([[12], [0]]), jnp.float32),
}
KEY = jax.random.key(5)


@pytest.fixture(scope="module")
def vit_variables(variables_for):
    """Variables of the unrolled tiny ViT, none of them at a special value."""
    return variables_for(ViT(**TINY), IMAGES)


@pytest.fixture(scope="module")
def vit_jacobians(vit_variables, jacobian):
    """Jacobians of the unrolled ViT without and with masks: what every other form of it is held
    against.
    """
    model = ViT(**TINY)

    def masked(variables, x):
        return model.apply(variables, x, masks=MASKS)

    return {
        False: jacobian(model.apply, vit_variables, IMAGES),
        True: jacobian(masked, vit_variables, IMAGES),
    }


def kernels_along(cotangents, model, masks):
    def run(v, x):
        return [
            ntk.kernel(model, v, x, cotangent=c, key=KEY, num_directions=2, masks=masks)
            for c in cotangents
        ]

    return run


@pytest.mark.parametrize(
    ("form", "masked", "cotangent"),
    [("unrolled", False, "full"), ("scanned", True, "random"), ("remat", True, "sum")],
)
def test_whole_vit(
    form,
    masked,
    cotangent,
    vit_variables,
    vit_jacobians,
    stack_blocks,
    jacobian_kernel,
    relative_error,
):
    """All layers together: unrolled, scanned, and scanned with recomputation are the definition,
    each for another cotangent, of which none knows the model.
    """
    model = ViT(**TINY, scan=form != "unrolled", remat=form == "remat")
    variables = vit_variables if form == "unrolled" else stack_blocks(vit_variables)
    run = jax.jit(kernels_along((cotangent,), model, MASKS if masked else None))
    wanted = jacobian_kernel(
        vit_jacobians[masked], None, None, ntk.directions(cotangent, (3,), KEY, 2)
    )
    assert relative_error(*run(variables, IMAGES), wanted) < 1e-5


@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
def test_whole_vit_in_float64(
    masked, vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """The scanned ViT differs from the definition by rounding alone."""
    model = ViT(**TINY, scan=True)
    v = DIRECTION
    got = in_float64(
        model, stack_blocks(vit_variables), IMAGES, cotangent=v, masks=MASKS if masked else None
    )
    assert relative_error(got, jacobian_kernel(vit_jacobians[masked], None, None, v)) < 1e-10


def test_neural_tangents_on_the_whole_vit(
    vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """Its Jacobian contraction, for the trace over outputs, on the masked scanned ViT."""
    model = ViT(**TINY, scan=True)
    variables = stack_blocks(vit_variables)
    got = structured_kernel(
        model, variables, IMAGES, cotangent="full", masks=MASKS, implementation="neural_tangents"
    )
    assert relative_error(got, jacobian_kernel(vit_jacobians[True], None, None, np.eye(3))) < 1e-5


# neural-tangents' own
@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
def test_neural_tangents_by_vector_products(variables_for, jacobian_kernel, relative_error):
    """Its other implementation, which needs no Jacobian."""
    model = Around(nn.Dense(4))
    x = normal(4, 3, 5)
    variables = variables_for(model, x)
    got = structured_kernel(
        model, variables, x, cotangent="full", implementation="neural_tangents_ntvp"
    )
    assert relative_error(got, jacobian_kernel(model.apply, variables, x, np.eye(3))) < 1e-5


def test_candidates_under_vmap_and_map(
    vit_variables, vit_jacobians, stack_blocks, jacobian_kernel, relative_error
):
    """Two candidates' masks through one compiled function: vmapped, mapped one after another, and
    each by the definition.
    """
    model = ViT(**TINY, scan=True)
    stacked = stack_blocks(vit_variables)
    both = {name: np.stack([mask, np.ones_like(mask)]) for name, mask in MASKS.items()}

    @jax.jit
    def vmapped_and_mapped(variables, x, both):
        def one(masks):
            return ntk.kernel(model, variables, x, masks=masks)

        return jax.vmap(one)(both), jax.lax.map(one, both)

    wanted = [
        jacobian_kernel(vit_jacobians[masked], None, None, np.ones((3, 1)))
        for masked in (True, False)
    ]
    for got in vmapped_and_mapped(stacked, IMAGES, both):
        assert relative_error(got[0], wanted[0]) < 1e-5
        assert relative_error(got[1], wanted[1]) < 1e-5  # masks of ones: the ordinary ViT


def test_chunks_give_the_same_kernel(variables_for, relative_error):
    """Two, three and one chunk; a chunk that doesn't divide the batch is refused."""
    model = Around(nn.Dense(4))
    x = normal(6, 3, 5)
    variables = variables_for(model, x)

    @jax.jit
    def run(variables, x):
        return [ntk.kernel(model, variables, x, chunk=chunk) for chunk in (None, 3, 2, 1, 6)]

    whole, *in_chunks = map(np.asarray, run(variables, x))
    for got in in_chunks:
        assert relative_error(got, whole) < 1e-5
        np.testing.assert_allclose(got, got.T, rtol=1e-5)
    with pytest.raises(ValueError, match="divides 6 samples, got 4"):
        structured_kernel(model, variables, x, chunk=4)


def test_outputs_of_more_than_one_axis(variables_for, jacobian_kernel, relative_error):
    """A map of outputs, as segmentation has it: every cotangent sums or averages over places and
    classes.
    """
    model = nn.Conv(2, (3, 3))
    x = normal(3, 3, 4, 2)
    variables = variables_for(model, x)
    got = jax.jit(kernels_along(ntk.COTANGENTS, model, None))(variables, x)
    for cotangent, k in zip(ntk.COTANGENTS, got, strict=True):
        wanted = jacobian_kernel(
            model.apply, variables, x, ntk.directions(cotangent, (3, 4, 2), KEY, 2)
        )
        assert relative_error(k, wanted) < 1e-5, cotangent


def test_directions():
    """Ones; unit vectors; normal ones whose expected outer product is the identity over K;
    refusals.
    """
    np.testing.assert_array_equal(ntk.directions("sum", (2, 3)), np.ones((2, 3, 1)))
    np.testing.assert_array_equal(ntk.directions("full", (2, 3)).reshape(6, 6), np.eye(6))
    v = np.asarray(ntk.directions("random", (4,), KEY, 40000))
    np.testing.assert_allclose(v @ v.T / 40000, np.eye(4) / 4, atol=0.01)
    with pytest.raises(ValueError, match="key"):
        ntk.directions("random", (4,))
    with pytest.raises(ValueError, match=r"sum, random, full, got 'all'"):
        ntk.directions("all", (4,))
    with pytest.raises(ValueError, match="'magic'"):
        ntk.kernel(nn.Dense(2), {"params": {}}, jnp.ones((2, 2)), implementation="magic")
