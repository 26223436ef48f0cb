"""Two CPU devices, shapes checked against their annotations as tests run, and what several tests
need.
"""

import gc
import os
import random
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Compiled programs are shared by all tests, workers and commands that tests start, and kept for the
# next run; a fresh clone has none.
os.environ.setdefault(
    "VINTK_COMPILE_CACHE", str(Path(__file__).resolve().parents[1] / ".test_programs")
)
# Tests compile far longer than they run: without optimisations and the newer code generator for
# fusions, a third as long; each module in one piece instead of one for each of many threads (other
# workers have the other cores), a tenth less.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
)

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook
from xdist.scheduler import LoadFileScheduling

jax.config.update("jax_num_cpu_devices", 2)  # before any backend starts
_HOOK = install_import_hook("vintk_jax", "beartype.beartype")  # before vintk_jax is imported

from vintk_jax.compile_cache import DEFAULT_CACHE, keep_programs  # noqa: E402 (after the hook)
from vintk_jax.jax_settings import avoid_wrong_fusions  # noqa: E402
from vintk_jax.ntk import definition  # noqa: E402
from vintk_jax.spaces import conformance  # noqa: E402

avoid_wrong_fusions()
keep_programs(DEFAULT_CACHE)

# Traces are many small objects that live: with Python's own 700, a tenth of the time goes to
# looking at them.
gc.set_threshold(200_000, 20, 20)

settings.register_profile("vintk", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("vintk")

TABLES = Path(__file__).resolve().parents[2] / "shared" / "nas_tables"


class Files(LoadFileScheduling):
    """A worker has whole files, for their fixtures; but tests that take minutes each are shared
    between workers.
    """

    def _split_scope(self, nodeid: str) -> str:
        return nodeid if "/test_many_samples.py::" in nodeid else super()._split_scope(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Not `--dist loadgroup`: pytest-xdist 3.8 names groups in a field that items of pytest 9.2
    have no more, and scatters all tests.
    """
    return Files(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.fixture(autouse=True)
def _seeds():
    """The global generators start alike in every test; tests draw from generators of their own."""
    random.seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def nas_tables():
    """The folder of published tables; tests that need it are skipped where it is absent."""
    if not (TABLES / "autoformer_tiny_imagenet.json").exists():
        pytest.skip(f"no tables of trained accuracies at {TABLES}")
    return TABLES


@pytest.fixture(scope="session")
def jacobian():
    """A function (apply, params, x) -> the full Jacobian (samples, outputs, parameters) in
    float64.
    """
    return definition.jacobian


@pytest.fixture(scope="session")
def jacobian_kernel():
    """A function (apply, params, x, directions) -> the kernel by its definition: J_v J_v' of the
    outputs along each v, averaged over v.

    A Jacobian that `jacobian` gave may stand in for `apply`; then params and x are not read.
    """

    def kernel(apply, params, x, directions):
        return definition.kernel(
            definition.jacobian(apply, params, x) if callable(apply) else apply,
            np.asarray(directions),
        )

    return kernel


@pytest.fixture(scope="session")
def relative_error():
    """A function (got, wanted) -> the Frobenius norm of their difference over that of `wanted`."""

    def error(got, wanted):
        got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
        assert got.shape == wanted.shape
        assert np.linalg.norm(wanted) > 0
        return np.linalg.norm(got - wanted) / np.linalg.norm(wanted)

    return error


@pytest.fixture(scope="session")
def variables_for():
    """A function (module, *call arguments) -> random variables of its shapes in which no bias is
    zero and no scale one.

    Nothing is compiled for it, unlike for `init`, whose zero biases would also hide mistakes.
    """

    return conformance.draw


@pytest.fixture(scope="session")
def stack_blocks():
    """A function (variables of an unrolled ViT) -> the variables of the scanned one: its blocks'
    leaves stacked.
    """

    def stack(variables):
        tree = dict(variables["params"])
        blocks = [
            tree.pop(f"block_{i}")
            for i in range(sum(name.startswith("block_") for name in variables["params"]))
        ]
        return {
            "params": {
                **tree,
                "blocks": {"block": jax.tree.map(lambda *leaves: jnp.stack(leaves), *blocks)},
            }
        }

    return stack
