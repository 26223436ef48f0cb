"""What JAX is set to before it starts."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp

from vintk_jax.jax_settings import avoid_wrong_fusions

ROOT = Path(__file__).resolve().parents[1]


def test_gradients_of_a_layer_norm_are_right(relative_error):
    """Compiled and not compiled alike; without the setting, jax 0.10.2's CPU backend is off by a
    third here.
    """

    def norm(x):
        centred = x - jnp.sum(x, -1, keepdims=True) / x.shape[-1]
        return centred * jax.lax.rsqrt(
            jnp.sum(centred * centred, -1, keepdims=True) / x.shape[-1] + 1e-6
        )

    x = jax.random.normal(jax.random.key(0), (20, 24))
    assert relative_error(jax.jit(jax.jacrev(norm))(x), jax.jacrev(norm)(x)) < 1e-5


def test_flags_of_the_users_own_are_kept(monkeypatch):
    """Added once, behind what is there."""
    monkeypatch.setenv("XLA_FLAGS", "--xla_cpu_enable_fast_math=false")
    avoid_wrong_fusions()
    avoid_wrong_fusions()
    assert os.environ["XLA_FLAGS"].count("ynn") == 1
    assert os.environ["XLA_FLAGS"].startswith("--xla_cpu_enable_fast_math=false ")


def test_large_pages_start_the_process_again_once():
    """The setting reaches the program, its arguments stay, and a user's own is left alone."""
    program = (
        "import os, sys; from vintk_jax import jax_settings as js; js.restart_with_large_pages(); "
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:])"
    )

    def run(environment):
        return subprocess.run(
            [sys.executable, "-c", program, "a b", "--c=d"],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()

    own = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    if sys.platform == "linux":
        assert run(own) == "glibc.malloc.hugetlb=1 ['a b', '--c=d']"
    assert run({**own, "GLIBC_TUNABLES": "mine"}) == "mine ['a b', '--c=d']"


def test_lapack_stays_on_its_candidates_core():
    """Scoring lets no BLAS that is loaded start threads of its own."""
    program = (
        "from vintk_jax.jax_settings import set_up_jax; set_up_jax('float32'); "
        "import threadpoolctl as t; "
        "print([i['num_threads'] for i in t.threadpool_info() if i['user_api'] == 'blas'])"
    )
    printed = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(json.loads(printed)) == {1}
