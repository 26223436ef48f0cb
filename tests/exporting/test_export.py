"""An exported model answers as the library does, where there is no library."""

import dataclasses
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.adaptive import assigners
from vintk_jax.adaptive.answers import features_of, thumbnails
from vintk_jax.adaptive.plans import Assigner, Plans
from vintk_jax.errors import UserError
from vintk_jax.exporting import folder, programs
from vintk_jax.exporting.load import Model
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.training.models import Trained

CLASSES = ("a", "b", "c")
GRIDS = ((4, 4), (3, 3), (2, 2))
SIZES = {"embed_dim": 12, "num_heads": (2, 2), "hidden": (20, 20), "head_dim": 6, "num_classes": 3}
VIT = ViT(**SIZES, patch_size=8, native_grid=(4, 4), norm_grids=GRIDS)
LVVIT = VIT.clone(stem_width=4, residual_scale=0.5, aux_head=True)
CLIP_GRIDS = ((4, 2, 2), (2, 2, 2))
TIMESFORMER = TimeSformer(
    **SIZES, patch_size=16, native_grid=(2, 2), native_frames=4, norm_grids=CLIP_GRIDS
)
RNG = np.random.default_rng(0)
# Run in a process that finds neither our code nor what it stands on.
ALONE = """
import sys
class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("vintk_jax", "flax", "optax", "orbax", "ml_collections"):
            raise ImportError(name)
sys.meta_path.insert(0, Nothing())
import numpy as np
from load import Model
model = Model(".")
images = np.load(sys.argv[1])
probabilities, lengths = model(images)
at_lengths = {name: model.at(name, images) for name in model.lengths}
np.savez(sys.argv[2], probabilities=probabilities, lengths=lengths, **at_lengths)
"""


def predictor_of(model, grids, frames=0):
    """A model with random weights, some of which tell images apart."""
    trained = Trained(model, grids, 32, "fan_in", frames)
    params = jax.jit(trained.draw)(jax.random.key(1))
    params = jax.tree.map(
        lambda leaf: leaf + 0.2 * jax.random.normal(jax.random.key(leaf.size), leaf.shape), params
    )
    return Predictor(trained, params, CLASSES)


def images_of(predictor, count):
    """Of many brightnesses and contrasts."""
    contrast = np.linspace(0, 1, count).reshape(-1, *[1] * len(predictor.shape))
    return (
        (
            RNG.integers(0, 256, (count, *predictor.shape)) * contrast
            + 255 * RNG.permutation(1 - contrast) / 2
        )
        .clip(0, 255)
        .astype(np.uint8)
    )


def assigner_of(kind, predictor, images, start=0):
    """An assigner with random weights, at each look another one, and a price at which half of the
    images stay where it first looks.
    """
    names, costs = predictor.names, tuple(np.linspace(0.3, 1, len(predictor.names)))
    module = assigners.make(kind, len(names), 8, 16)
    one = predictor.length(names[0])
    features = features_of(*one(one.variables, jnp.zeros((1, *predictor.shape), jnp.uint8))).shape[
        1
    ]
    looks = len(names) - 1 if kind == "shared" else 1
    draw = lambda i: jax.tree.map(
        lambda p: 1.5 * p, module.init(jax.random.key(i), assigners.example(module, features, 16))
    )
    assigner = Assigner(module, tuple(map(draw, range(looks))), "each", 16, 0.3, costs, start=start)
    one = predictor.length(tuple(reversed(names))[start])
    seen = (
        features_of(*one(one.variables, jnp.asarray(images)))
        if kind == "shared"
        else thumbnails(jnp.asarray(images), 16)
    )
    chances, there = (
        np.asarray(assigner.chances(assigner.params[start if kind == "shared" else 0], seen)),
        np.asarray(costs),
    )
    paid = np.where(np.arange(len(costs)) == start, 0, there) if kind == "shared" else there
    gains = (chances - chances[:, [start]])[:, start + 1 :] / (paid - paid[start])[start + 1 :]
    middle = len(images) // 2
    # no image is on the edge
    return dataclasses.replace(
        assigner, price=float(np.sort(gains.max(axis=1))[middle : middle + 2].mean())
    )


@pytest.mark.parametrize(
    ("model", "grids", "kind", "start"),
    [
        pytest.param(VIT, GRIDS, "shared", 0, id="vit"),
        pytest.param(VIT, GRIDS, "cnn", 0, id="thumbnails"),
        pytest.param(LVVIT, GRIDS, "shared", 1, id="lvvit", marks=pytest.mark.slow),
        pytest.param(TIMESFORMER, CLIP_GRIDS, "shared", 0, id="clips", marks=pytest.mark.slow),
    ],
)
def test_answers_are_the_librarys(model, grids, kind, start, tmp_path, relative_error):
    """Lengths and probabilities of the engine, and of each length by itself; any number of images;
    images reach several lengths.
    """
    predictor = predictor_of(model, grids, frames=4 if model is TIMESFORMER else 0)
    images = images_of(predictor, 9)
    assigner = assigner_of(kind, predictor, images, start)
    folder.write(
        tmp_path / "out", predictor, assigner, programs.programs_of(predictor, assigner), {}
    )
    block = Engine(Plans(predictor).assigned(assigner), predictor.shape, (9,)).all(images)
    names = [step.name for step in Plans(predictor).assigned(assigner).steps]
    exported = Model(tmp_path / "out")
    probabilities, lengths = exported(images)
    assert lengths == [names[i] for i in block.steps]
    assert len(set(lengths)) > 1
    assert relative_error(probabilities, block.probabilities) < 1e-5
    for name in predictor.names:
        assert relative_error(exported.at(name, images[:5]), predictor(images[:5], name)) < 1e-5
    assert exported.classes == list(CLASSES)


def test_a_process_without_our_code(tmp_path, relative_error):
    """The folder by itself: jax and numpy are all that load.py imports."""
    predictor = predictor_of(VIT, GRIDS)
    folder.write(tmp_path / "out", predictor, None, programs.programs_of(predictor, None), {})
    moved = shutil.copytree(tmp_path / "out", tmp_path / "elsewhere")
    images = RNG.integers(0, 256, (5, *predictor.shape), np.uint8)
    np.save(tmp_path / "images.npy", images)
    arguments = [
        sys.executable,
        "-c",
        ALONE,
        str(tmp_path / "images.npy"),
        str(tmp_path / "found.npz"),
    ]
    subprocess.run(arguments, cwd=moved, check=True, timeout=300)
    with np.load(tmp_path / "found.npz") as arrays:
        found = dict(arrays)
    for name in predictor.names:
        assert relative_error(found[name], predictor(images, name)) < 1e-5
    assert set(found["lengths"]) == {"16"}
    np.testing.assert_array_equal(found["probabilities"], found["16"])


@pytest.mark.parametrize(
    ("model", "grids", "kind"),
    [
        pytest.param(VIT, GRIDS, "cnn", id="thumbnails"),
        pytest.param(LVVIT, GRIDS, "shared", id="lvvit", marks=pytest.mark.slow),
        pytest.param(TIMESFORMER, CLIP_GRIDS, "shared", id="clips", marks=pytest.mark.slow),
    ],
)
def test_onnx_answers_are_the_librarys(model, grids, kind, tmp_path, relative_error):
    """By onnxruntime: lengths, and probabilities to 1e-4."""
    pytest.importorskip("jax2onnx", reason="requirements-onnx.txt isn't installed")
    predictor = predictor_of(model, grids, frames=4 if model is TIMESFORMER else 0)
    images = images_of(predictor, 9)
    assigner = assigner_of(kind, predictor, images)
    folder.write(
        tmp_path / "out",
        predictor,
        assigner,
        programs.programs_of(predictor, assigner),
        {},
        ("onnx",),
    )
    block = Engine(Plans(predictor).assigned(assigner), predictor.shape, (9,)).all(images)
    names = [step.name for step in Plans(predictor).assigned(assigner).steps]
    probabilities, lengths = Model(tmp_path / "out", "onnx")(images)
    assert lengths == [names[i] for i in block.steps]
    assert relative_error(probabilities, block.probabilities) < 1e-4


def test_what_the_folder_holds(tmp_path):
    """Programs name their platforms and a free batch; what lengths share is stored once; a second
    export replaces the first.
    """
    predictor = predictor_of(VIT, GRIDS)
    found = programs.programs_of(predictor, None)
    for _ in range(2):
        folder.write(tmp_path / "out", predictor, None, found, {"budget": None})
    exported = jax.export.deserialize(bytearray((tmp_path / "out" / "16.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert str(exported.in_avals[-1].shape) == "(batch, 32, 32, 3)"
    plan = json.loads((tmp_path / "out" / "model.json").read_text())
    with np.load(tmp_path / "out" / "weights.npz") as arrays:
        stored = set(arrays.files)
    used = [name for program in plan["programs"].values() for name in program["weights"]]
    assert set(used) == stored
    assert len(stored) < 0.7 * len(used)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    """It isn't emptied."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    predictor = predictor_of(VIT, GRIDS)
    with pytest.raises(UserError, match="holds something else"):
        folder.write(tmp_path / "out", predictor, None, programs.programs_of(predictor, None), {})
    assert (tmp_path / "out" / "thesis.tex").exists()
