"""Importing the reference on a JAX that it was not written for."""

import subprocess
import sys

SCRIPT = """
import sys, types
import jax, jax.core, jax.extend.core, jax.interpreters.ad
import flax.linen, numpy, scipy

def names():
    names = {
        f"{module.__name__}.{name}": id(value)
        for module in (jax.core, jax.interpreters.ad)
        for name, value in vars(module).items()
    }
    names["jax.util"] = (id(vars(jax).get("util")), id(sys.modules.get("jax.util")))
    return names

before = names()
from vintk_jax.ntk import reference
nt = reference.neural_tangents()
after = names()
changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
assert not changed, changed
assert "tensorflow" not in sys.modules
assert not any(name == "neural_tangents.experimental" for name in sys.modules)
assert callable(nt.empirical_ntk_fn) and reference.neural_tangents() is nt
print("as found")
"""


def test_import_leaves_jax_as_found():
    """In a process of its own: jax.core, jax.interpreters.ad and jax.util hold what they held;
    TensorFlow is not imported.
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", SCRIPT], capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "as found"
