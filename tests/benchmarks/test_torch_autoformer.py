"""The PyTorch peer computes what our model computes, and all contestants of the benchmark the same
kernel.
"""

import jax.numpy as jnp
import numpy as np
import pytest

from benchmarks.cases import data, torch_config, widest
from vintk_jax.spaces.autoformer import AutoFormerSpace

torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
pytestmark = pytest.mark.peers

from benchmarks import jax_kernels, torch_kernels  # noqa: E402
from benchmarks.torch_autoformer import AutoFormer, Config, load_flax  # noqa: E402

SPACE = AutoFormerSpace(
    "narrow", embed_dim=(24, 32), depth=(1, 2), num_heads=(1, 2), mlp_ratio=(1.0, 2.0)
)
CLASSES = 10


@pytest.fixture(params=[16, 48, 256], ids="{}px".format)
def problem(request, variables_for):
    """Variables of the scanned supernet, the PyTorch model that holds them, images and a direction;
    256 px has clipped distances.
    """
    size = request.param
    images, direction = data(3, size, classes=CLASSES)
    variables = variables_for(SPACE.supernet(size, CLASSES), jnp.asarray(images))
    model = AutoFormer(Config(**torch_config(widest(SPACE), size, classes=CLASSES)))
    return variables, load_flax(model, variables), images, direction


def test_logits_are_those_of_our_model(problem, relative_error):
    """Scanned parameters, relative positions beyond the clip included."""
    variables, model, images, direction = problem
    ours = SPACE.supernet(images.shape[1], CLASSES).apply(variables, jnp.asarray(images))
    with torch.no_grad():
        theirs = model(torch_kernels.tensors(images, direction)[0])
    assert relative_error(theirs.numpy(), ours) < 1e-4


def test_unrolled_parameters_load_to_the_same_model(problem):
    """Both layouts of the Flax parameters give one state."""
    variables, model, images, _ = problem
    again = AutoFormer(Config(**torch_config(widest(SPACE), images.shape[1], classes=CLASSES)))
    load_flax(again, jax_kernels.unstack(variables))
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), again.state_dict().values(), strict=True)
    )


# neural-tangents' own
@pytest.mark.filterwarnings("ignore:size requires ndarray:DeprecationWarning")
def test_all_contestants_compute_one_kernel(problem, relative_error):
    """Ours, neural-tangents' two, the loop and vmap(grad)."""
    variables, model, images, direction = problem
    ours = np.asarray(
        jax_kernels.prepare(jax_kernels.OURS, SPACE, variables, images, direction).run()
    )
    for name in jax_kernels.NEURAL_TANGENTS:
        assert (
            relative_error(
                jax_kernels.prepare(name, SPACE, variables, images, direction).run(), ours
            )
            < 1e-4
        ), name
    for name in (torch_kernels.LOOP, torch_kernels.VMAP):
        kernel = torch_kernels.CONTESTANTS[name](model, *torch_kernels.tensors(images, direction))
        assert relative_error(kernel.detach().numpy(), ours) < 1e-4, name


def test_plain_passes_give_one_gradient(problem):
    """The floor and PyTorch's forward and backward pass do the same work."""
    variables, model, images, direction = problem
    ours = jax_kernels.prepare(jax_kernels.FLOOR, SPACE, variables, images, direction).run()[
        "params"
    ]
    theirs = torch_kernels.forward_backward(model, *torch_kernels.tensors(images, direction))
    named = dict(zip([name for name, _ in model.named_parameters()], theirs, strict=True))
    np.testing.assert_allclose(
        named["head.weight"].numpy(), np.asarray(ours["head"]["kernel"]).T, rtol=1e-4, atol=1e-4
    )
    table = np.asarray(ours["blocks"]["block"]["attention"]["relative_keys"]["vertical"])[0]
    wanted = named["blocks.0.attention.relative_keys.vertical"].numpy()
    np.testing.assert_allclose(wanted, table, rtol=1e-3, atol=1e-4 * np.abs(table).max())
