"""The vision transformer as a whole."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import softmax
from scipy.stats import norm as gauss
from trees import float64

from vintk_jax.models.vit import ViT

TINY = {
    "embed_dim": 12,
    "num_heads": (2, 2),
    "hidden": (20, 20),
    "head_dim": 8,
    "num_classes": 3,
    "patch_size": 8,
    "native_grid": (4, 4),
}
IMAGES = jnp.asarray(np.float32(np.random.default_rng(0).standard_normal((4, 32, 32, 3))))


def run(model, variables, images, *grid):
    return jax.jit(model.apply, static_argnums=2)(variables, images, *grid)


def shapes(variables):
    return {
        "/".join(k.key for k in path): leaf.shape
        for path, leaf in jax.tree_util.tree_leaves_with_path(variables["params"])
    }


@pytest.fixture(scope="module")
def unrolled(variables_for):
    """Variables of the tiny ViT with relative positions, unrolled."""
    return variables_for(ViT(**TINY, max_distance=2), IMAGES, size=0.1)


def block_shapes(e, inner, hidden, rows, head_dim):
    wanted = {f"norm{i}/{p}": (e,) for i in (1, 2) for p in ("scale", "bias")}
    wanted |= {"attention/qkv/kernel": (e, 3 * inner), "attention/qkv/bias": (3 * inner,)}
    wanted |= {"attention/proj/kernel": (inner, e), "attention/proj/bias": (e,)}
    wanted |= {
        f"attention/relative_{s}/{axis}": (rows, head_dim)
        for s in ("keys", "values")
        for axis in ("vertical", "horizontal")
    }
    return wanted | {
        "mlp/fc1/kernel": (e, hidden),
        "mlp/fc1/bias": (hidden,),
        "mlp/fc2/kernel": (hidden, e),
        "mlp/fc2/bias": (e,),
    }


def test_parameter_names_and_shapes(stack_blocks):
    """Every parameter by name; blocks may differ; scanned blocks carry the depth first; five
    channels are taken as they come.
    """
    kind = {**TINY, "num_heads": (2, 3), "hidden": (20, 24), "max_distance": 2}
    images = jax.ShapeDtypeStruct((2, 32, 32, 5), jnp.float32)
    wanted = {
        "patch_embed/kernel": (8, 8, 5, 12),
        "patch_embed/bias": (12,),
        "class_token/token": (1, 1, 12),
        "positions/table": (17, 12),
    }
    wanted |= {"norm/scale": (12,), "norm/bias": (12,), "head/kernel": (12, 3), "head/bias": (3,)}
    blocks = {
        f"block_{i}/{k}": v
        for i in range(2)
        for k, v in block_shapes(12, (2 + i) * 8, 20 + 4 * i, 6, 8).items()
    }
    assert shapes(jax.eval_shape(ViT(**kind).init, jax.random.key(0), images)) == wanted | blocks
    scanned = {f"blocks/block/{k}": (2, *v) for k, v in block_shapes(12, 16, 20, 6, 8).items()}
    model = ViT(**TINY, max_distance=2, scan=True)
    assert shapes(jax.eval_shape(model.init, jax.random.key(0), images)) == wanted | scanned


def test_scanned_blocks_start_different():
    """Each scanned block draws weights of its own."""
    variables = jax.jit(ViT(**TINY, scan=True).init)(jax.random.key(1), IMAGES)
    kernel = np.asarray(variables["params"]["blocks"]["block"]["mlp"]["fc1"]["kernel"])
    assert not np.allclose(kernel[0], kernel[1])


def test_scan_and_remat_compute_the_same(unrolled, stack_blocks):
    """Logits and gradients of the unrolled model, scanned or not, with activations recomputed or
    kept.
    """

    def loss_and_gradients(variables, **options):
        model = ViT(**TINY, max_distance=2, **options)
        weights = np.random.default_rng(0).standard_normal((4, 3))

        def loss(v):
            logits = model.apply(v, IMAGES)
            return (logits * weights).sum(), logits

        (_, logits), gradients = jax.jit(jax.value_and_grad(loss, has_aux=True))(variables)
        return np.asarray(logits), gradients

    logits, gradients = loss_and_gradients(unrolled)
    assert np.std(logits) > 1e-3
    stacked = (stack_blocks(unrolled), stack_blocks(gradients))
    for options in ({"remat": True}, {"scan": True}, {"scan": True, "remat": True}):
        variables, wanted = stacked if "scan" in options else (unrolled, gradients)
        got = loss_and_gradients(variables, **options)
        np.testing.assert_allclose(got[0], logits, atol=1e-5)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-4), got[1], wanted)


def test_remat_recomputes():
    """The option reaches the program: the backward pass holds a call of which nothing is kept.
    Scanned blocks keep some without it.
    """
    for scan in (False, True):
        for remat in (False, True):
            model = ViT(**TINY, scan=scan, remat=remat)
            variables = jax.eval_shape(model.init, jax.random.key(0), IMAGES)
            jaxpr = str(jax.make_jaxpr(partial(model.apply, images=IMAGES))(variables))
            assert ("policy=None" in jaxpr) == remat
            assert ("policy=" in jaxpr.replace("policy=None", "")) == (scan and not remat)


def test_other_grids_and_rectangular_images(unrolled):
    """A grid that is not the native one, as a number or a pair, resamples; rectangular images cut
    into whole patches run.
    """
    model = ViT(**TINY, max_distance=2)

    @jax.jit
    def run_all(variables, images):
        of_grids = [model.apply(variables, images, grid) for grid in (None, 4, 2, (2, 2))]
        of_wide = [model.apply(variables, images[:, :16], grid) for grid in (None, (2, 4))]
        return of_grids, of_wide

    of_grids, (wide, wide_named) = run_all(unrolled, IMAGES)
    native, native_named, coarse, coarse_named = map(np.asarray, of_grids)
    np.testing.assert_array_equal(native_named, native)
    np.testing.assert_array_equal(coarse_named, coarse)
    assert coarse.shape == native.shape
    assert not np.allclose(coarse, native, atol=1e-3)
    np.testing.assert_array_equal(wide_named, wide)
    assert wide.shape == native.shape
    assert np.isfinite(wide).all()


@pytest.mark.parametrize(
    ("size", "grid", "words"),
    [
        ((30, 32), None, ("30 x 32", "patch size 8")),
        ((32, 4), None, ("32 x 4", "patch size 8")),
        ((32, 4), (4, 5), ("(32, 4) pixels", "(4, 5)")),
    ],
)
def test_images_that_do_not_divide_are_refused(unrolled, size, grid, words):
    """The message names the image's sides, and the patch size that doesn't divide them or the grid
    that is finer than the pixels.
    """
    model = ViT(**TINY, max_distance=2)
    with pytest.raises(ValueError) as caught:
        jax.eval_shape(partial(model.apply, grid=grid), unrolled, np.zeros((1, *size, 3)))
    assert all(word in str(caught.value) for word in words)


@pytest.mark.parametrize("differing", [{"num_heads": (2, 3)}, {"hidden": (20, 24)}])
def test_scan_refuses_blocks_that_differ(differing):
    """Blocks that differ can't share one traced body."""
    with pytest.raises(ValueError, match="Expected equal heads"):
        jax.eval_shape(ViT(**{**TINY, **differing}, scan=True).init, jax.random.key(0), IMAGES)


@pytest.mark.parametrize("scan", [False, True])
def test_bfloat16_stays_near_float32(unrolled, stack_blocks, scan):
    """Computation in bfloat16: bfloat16 logits within its rounding, float32 parameters."""
    variables = jax.jit(stack_blocks)(unrolled) if scan else unrolled
    half = ViT(**TINY, max_distance=2, scan=scan, dtype=jnp.dtype(jnp.bfloat16))
    assert all(
        leaf.dtype == jnp.float32
        for leaf in jax.tree.leaves(jax.eval_shape(half.init, jax.random.key(0), IMAGES))
    )
    got = run(half, variables, IMAGES)
    wanted = np.asarray(run(ViT(**TINY, max_distance=2, scan=scan), variables, IMAGES))
    assert got.dtype == jnp.bfloat16
    error = np.abs(np.asarray(got, np.float32) - wanted).max()
    assert 0 < error < 0.05 * np.abs(wanted).max()


def deit(p, images, heads, pool):
    """The forward pass of timm's VisionTransformer, as DeiT configures it, in NumPy float64."""
    p = float64(p)

    def dense(q, x):
        return x @ q["kernel"] + q["bias"]

    def norm(q, x):
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * q[
            "scale"
        ] + q["bias"]

    n = len(images)
    patch = p["patch_embed"]["kernel"].shape[0]
    e = p["head"]["kernel"].shape[0]
    rows = images.shape[1] // patch
    columns = images.shape[2] // patch
    x = np.zeros((n, 1 + rows * columns, e))
    x[:, 0] = p["class_token"]["token"]
    for r in range(rows):
        for c in range(columns):
            pixels = images[:, r * patch : (r + 1) * patch, c * patch : (c + 1) * patch]
            x[:, 1 + r * columns + c] = (
                np.tensordot(pixels, p["patch_embed"]["kernel"], 3) + p["patch_embed"]["bias"]
            )
    x = x + p["positions"]["table"]
    for i in range(sum(name.startswith("block_") for name in p)):
        b = p[f"block_{i}"]
        qkv = dense(b["attention"]["qkv"], norm(b["norm1"], x)).reshape(
            n, x.shape[1], 3, heads, e // heads
        )
        q, k, v = qkv.transpose(2, 0, 3, 1, 4)
        out = softmax(q @ k.transpose(0, 1, 3, 2) / np.sqrt(e // heads), axis=-1) @ v
        x = x + dense(b["attention"]["proj"], out.transpose(0, 2, 1, 3).reshape(x.shape))
        h = dense(b["mlp"]["fc1"], norm(b["norm2"], x))
        x = x + dense(b["mlp"]["fc2"], h * gauss.cdf(h))
    x = norm(p["norm"], x)
    return dense(p["head"], x[:, 0] if pool == "token" else x[:, 1:].mean(1))


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_without_relative_positions_it_is_deit(pool, variables_for):
    """Logits of an independent forward pass written from the published definition."""
    model = ViT(**{**TINY, "head_dim": 6, "num_heads": (2, 2)}, pool=pool)
    variables = variables_for(model, IMAGES, size=0.1)
    wanted = deit(variables["params"], np.asarray(IMAGES, np.float64), 2, pool)
    np.testing.assert_allclose(run(model, variables, IMAGES), wanted, atol=1e-5)
    assert np.std(wanted) > 0.01
