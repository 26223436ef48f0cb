"""Scikit-learn's photographs and digits, read without scikit-learn."""

import subprocess
import sys

import numpy as np
from sklearn.datasets import load_digits, load_sample_images

from vintk_jax.data import shipped


def test_they_are_scikit_learns(monkeypatch, tmp_path):
    """By its files, and by its functions where the files lie elsewhere."""
    for _ in range(2):
        photographs = shipped.photographs.__wrapped__()
        wanted = load_sample_images().images
        assert len(photographs) == len(wanted) == 2
        assert all(map(np.array_equal, photographs, wanted))
        digits = shipped.digits.__wrapped__()
        np.testing.assert_array_equal(digits.images, load_digits().images)
        np.testing.assert_array_equal(digits.labels, load_digits().target)
        monkeypatch.setattr(shipped, "_folder", lambda: tmp_path)


def test_scikit_learn_is_not_imported():
    """Neither for the photographs nor for the digits."""
    program = (
        "import sys; from vintk_jax.data import shipped; shipped.photographs(); shipped.digits(); "
        "print('sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "False"
