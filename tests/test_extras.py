"""The light installation: complete without TensorFlow, and told where something is missing."""

import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from vintk_jax import extras

ROOT = Path(__file__).resolve().parents[1]
# TensorFlow, and what neural-tangents asks for beside it and doesn't need here.
# Of axe-playwright-python only the file axe.min.js is used.
LEFT_OUT = {"tensorflow", "tf2jax", "playwright"}


def pinned(*files):
    """Names of the packages that requirements files pin."""
    lines = "\n".join((ROOT / file).read_text() for file in files)
    return {canonicalize_name(name) for name in re.findall(r"^([\w.-]+)==", lines, re.MULTILINE)}


def needed(roots):
    """What packages ask for, and what these ask for in turn."""
    found = set()
    waiting = [(canonicalize_name(name), frozenset(chosen)) for name, chosen in roots]
    while waiting:
        name, chosen = waiting.pop()
        if (name, chosen) in found or name in LEFT_OUT:
            continue
        found.add((name, chosen))
        for text in metadata.requires(name) or ():
            asked = Requirement(text)
            environments = [{"extra": extra} for extra in chosen or ("",)]
            if asked.marker is None or any(map(asked.marker.evaluate, environments)):
                waiting.append((canonicalize_name(asked.name), frozenset(asked.extras)))
    return {name for name, _ in found}


def roots_of(*sections):
    """Packages, with their extras, that pyproject.toml names: its dependencies and some extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    texts = list(project["dependencies"])
    for section in sections:
        texts += project["optional-dependencies"][section]
    asked = [Requirement(text) for text in texts]
    return [(one.name, one.extras) for one in asked]


def test_requirements_are_complete():
    """`pip install --no-deps -r requirements.txt` installs all that the library asks for, but
    TensorFlow.
    """
    missing = needed(roots_of("reference", "tfds")) - pinned("requirements.txt")
    assert missing <= LEFT_OUT
    files = ("requirements.txt", "requirements-test.txt", "requirements-serve.txt")
    tests = needed(roots_of("test")) - pinned(*files)
    assert tests <= LEFT_OUT
    serving = needed(roots_of("serve")) - pinned("requirements.txt", "requirements-serve.txt")
    assert serving <= LEFT_OUT


def test_nothing_but_extras_asks_for_tensorflow():
    """A wheel is installed with what it asks for."""
    everything = needed(roots_of())
    assert not everything & {"tensorflow", "neural-tangents", "tensorflow-datasets", "keras"}
    assert "tensorflow" not in pinned("requirements.txt")


WITHOUT = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError("No module named " + name, name=name)

sys.meta_path.insert(0, Blocked())
from vintk_jax import command_line
{program}
"""


@pytest.mark.parametrize(
    ("blocked", "program", "says"),
    [
        (
            {"neural_tangents"},
            "from vintk_jax.ntk.reference import neural_tangents; command_line.run(lambda _: "
            "neural_tangents())",
            "ntk.implementation=neural_tangents needs the package neural_tangents, which is not "
            "installed. Run: pip install 'neural-tangents==0.6.5'",
        ),
        (
            {"tensorflow_datasets"},
            "from vintk_jax.data.sources import open_source; command_line.run(lambda _: "
            "open_source('tfds:cifar10', 'train'))",
            "pip install 'tensorflow-datasets>=4.9.10' 'tensorflow>=2.21'",
        ),
        (
            {"uvicorn"},
            "from vintk_jax.serve import main; command_line.run(main, ['serve'])",
            "vintk_jax.serve needs the package uvicorn, which is not installed. Run: pip install "
            "'starlette<2,>=1.10' 'uvicorn<1,>=0.54'",
        ),
    ],
)
def test_a_missing_package_is_told_with_the_line_that_installs_it(blocked, program, says):
    """By the command that needs it: one message, exit code 2."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(blocked=blocked, program=program)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr


def test_a_set_that_tensorflow_has_to_prepare(tmp_path, monkeypatch):
    """Sets that lie prepared are read without it (tests/data); this one isn't there."""
    import tensorflow_datasets as tfds

    from vintk_jax.data.archives import tfds_split

    def prepare(*arguments, **options):
        raise ModuleNotFoundError("No module named 'tensorflow'", name="tensorflow")

    monkeypatch.setattr(tfds, "data_source", prepare)
    with pytest.raises(
        extras.MissingPackage, match=r"needs the package tensorflow, .*'tensorflow>=2\.21'"
    ):
        tfds_split("cifar10", "train", "data.source=tfds:cifar10", ("image",))
