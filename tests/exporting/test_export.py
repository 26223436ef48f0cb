"""An exported model answers as the library does, where there is no library."""

import dataclasses
import functools
import json
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vintk_jax.adaptive import assigner_networks
from vintk_jax.adaptive.answers import features_of, thumbnails
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.errors import UserError
from vintk_jax.exporting import folder, programs
from vintk_jax.exporting.load import Model
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.regions import Regions
from vintk_jax.models.timesformer import TimeSformer
from vintk_jax.models.vit import ViT
from vintk_jax.spaces import conformance
from vintk_jax.tasks.model_spec import ModelSpec

CLASSES = ("a", "b", "c")
GRIDS = ((4, 4), (3, 3), (2, 2))
SIZES = {"embed_dim": 12, "head_dim": 6, "num_classes": 3}
TWO_BLOCKS = {"num_heads": (2, 2), "hidden": (20, 20), **SIZES}
VIT = ViT(num_heads=(2,), hidden=(20,), patch_size=8, native_grid=(4, 4), norm_grids=GRIDS, **SIZES)
LVVIT = ViT(
    patch_size=8,
    native_grid=(4, 4),
    norm_grids=GRIDS,
    stem_width=4,
    residual_scale=0.5,
    aux_head=True,
    **TWO_BLOCKS,
)
CLIP_GRIDS = ((4, 2, 2), (2, 2, 2))
TIMESFORMER = TimeSformer(
    patch_size=16, native_grid=(2, 2), native_frames=4, norm_grids=CLIP_GRIDS, **TWO_BLOCKS
)
REGIONS = Regions(2, 2)
BY_REGION = ((4, 4), REGIONS, (2, 2))
REGION_VIT = VIT.clone(norm_grids=BY_REGION, pool="mean")
MODELS = {
    "vit": (VIT, GRIDS),
    "lvvit": (LVVIT, GRIDS),
    "clips": (TIMESFORMER, CLIP_GRIDS),
    "regions": (REGION_VIT, BY_REGION),
}
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
    """A model with random weights, which tell images apart."""
    trained = ModelSpec(model, grids, 32, "fan_in", frames)
    shown = jnp.zeros((1, *trained.shape))
    asked = (grids[0],)
    if REGIONS in grids:
        asked = (REGIONS, None, None, False, jnp.zeros((1, 5, model.embed_dim)))
    return Predictor(trained, conformance.draw(model, shown, *asked, seed=1), CLASSES)


def images_of(predictor, count):
    """Of many brightnesses and contrasts."""
    rng = np.random.default_rng(0)
    contrast = np.linspace(0, 1, count).reshape(-1, *[1] * len(predictor.shape))
    return (
        (
            rng.integers(0, 256, (count, *predictor.shape)) * contrast
            + 255 * rng.permutation(1 - contrast) / 2
        )
        .clip(0, 255)
        .astype(np.uint8)
    )


@functools.cache
def subject(name):
    """A predictor, images, and what it says of them at each length."""
    predictor = predictor_of(*MODELS[name], frames=4 if name == "clips" else 0)
    images = images_of(predictor, 9)
    return predictor, images, {one: np.asarray(predictor(images, one)) for one in predictor.names}


def assigner_of(kind, predictor, images, start=0):
    """An assigner with random weights, at each look another one, and a price at which half of the
    images stay where it first looks.
    """
    names = predictor.names
    costs = tuple(np.linspace(0.3, 1, len(predictor.names)))
    classes = len(predictor.classes)
    bare = make_assigner(kind, 8, "each", 16, 0.3, costs, classes=classes)
    module = bare.module
    asked_after = assigner_networks.reads_features(module)
    one = predictor.length(tuple(reversed(names))[start])

    @jax.jit
    def read(variables, images):
        return features_of(*one(variables, images)) if asked_after else thumbnails(images, 16)

    seen = read(one.variables, images)
    example = assigner_networks.example(module, seen.shape[1], 16)
    looks = len(names) - 1 if asked_after else 1
    params = tuple(conformance.draw(module, example, size=0.45, seed=i) for i in range(looks))
    assigner = dataclasses.replace(bare, params=params, start=start)
    first = params[start if asked_after else 0]
    chances = np.asarray(jax.jit(assigner.chances)(first, seen))
    there = np.asarray(costs)
    paid = np.where(np.arange(len(costs)) == start, 0, there) if asked_after else there
    gains = (chances - chances[:, [start]])[:, start + 1 :] / (paid - paid[start])[start + 1 :]
    middle = len(images) // 2
    # no image is on the edge
    return dataclasses.replace(
        assigner, price=float(np.sort(gains.max(axis=1))[middle : middle + 2].mean())
    )


@functools.cache
def assigned(name, kind, start):
    """An assigner of the subject, and the engine's lengths and probabilities."""
    predictor, images, _ = subject(name)
    assigner = assigner_of(kind, predictor, images, start)
    plan = assigner.plan(Plans(predictor))
    block = Engine(plan, predictor.shape, (9,)).all(images)
    lengths = [plan.steps[i].name for i in block.steps]
    assert len(set(lengths)) > 1
    return assigner, lengths, block.probabilities


@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [
        pytest.param("vit", "shared", 0, id="vit"),
        pytest.param("vit", "confidence", 0, id="confidence"),
        pytest.param("vit", "cnn", 0, id="thumbnails"),
        pytest.param("lvvit", "shared", 1, id="lvvit", marks=pytest.mark.slow),
        pytest.param("clips", "shared", 0, id="clips", marks=pytest.mark.slow),
        pytest.param("regions", "shared", 0, id="regions"),
        pytest.param("regions", "cnn", 0, id="regions-thumbnails", marks=pytest.mark.slow),
    ],
)
def test_answers_are_the_librarys(name, kind, start, tmp_path, relative_error):
    """Lengths and probabilities of the engine, and of each length by itself; any number of images;
    images reach several lengths.
    """
    predictor, images, wanted = subject(name)
    assigner, of_engine, answers = assigned(name, kind, start)
    folder.write(
        tmp_path / "out", predictor, assigner, programs.programs_of(predictor, assigner), {}
    )
    exported = Model(tmp_path / "out")
    probabilities, lengths = exported(images)
    assert lengths == of_engine
    assert len(set(lengths)) > 1
    assert relative_error(probabilities, answers) < 1e-5
    for one in predictor.names:
        assert relative_error(exported.at(one, images[:5]), wanted[one][:5]) < 1e-5
    assert exported.classes == list(CLASSES)


def test_a_first_pass_is_run_once(tmp_path, relative_error):
    """An image that has had it goes on with what it knew: the program of both isn't called."""
    predictor, images, _ = subject("regions")
    assigner, _, _ = assigned("regions", "shared", 0)
    # All go to the second pass, and stay there.
    assigner = dataclasses.replace(assigner, price=-0.1, costs=(0.0, 100.0, -100.0))
    plan = assigner.plan(Plans(predictor))
    block = Engine(plan, predictor.shape, (9,)).all(images)
    of_engine = [plan.steps[i].name for i in block.steps]
    answers = block.probabilities
    assert str(REGIONS) in of_engine
    found = programs.programs_of(predictor, assigner)
    folder.write(tmp_path / "out", predictor, assigner, found, {})
    exported = Model(tmp_path / "out")
    del exported._programs[str(REGIONS)]
    probabilities, lengths = exported(images)
    assert lengths == of_engine
    assert relative_error(probabilities, answers) < 1e-5


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The folder of a model without an assigner."""
    predictor, _, _ = subject("vit")
    out = tmp_path_factory.mktemp("plain") / "out"
    folder.write(out, predictor, None, programs.programs_of(predictor, None), {"budget": None})
    return out


def test_a_process_without_our_code(plain, tmp_path, relative_error):
    """The folder by itself: jax and numpy are all that load.py imports."""
    _, images, wanted = subject("vit")
    moved = shutil.copytree(plain, tmp_path / "elsewhere")
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
    for name, probabilities in wanted.items():
        assert relative_error(found[name], probabilities) < 1e-5
    assert set(found["lengths"]) == {"16"}
    np.testing.assert_array_equal(found["probabilities"], found["16"])


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        pytest.param("vit", "confidence", id="confidence"),
        pytest.param("vit", "cnn", id="thumbnails"),
        pytest.param("lvvit", "shared", id="lvvit", marks=pytest.mark.slow),
        pytest.param("clips", "shared", id="clips", marks=pytest.mark.slow),
        pytest.param("regions", "shared", id="regions"),
    ],
)
def test_onnx_answers_are_the_librarys(name, kind, tmp_path, relative_error):
    """By onnxruntime: lengths, and probabilities to 1e-4."""
    pytest.importorskip("jax2onnx", reason="requirements-onnx.txt isn't installed")
    predictor, images, _ = subject(name)
    assigner, of_engine, answers = assigned(name, kind, 0)
    found = programs.programs_of(predictor, assigner)
    folder.write(tmp_path / "out", predictor, assigner, found, {}, ("onnx",))
    probabilities, lengths = Model(tmp_path / "out", "onnx")(images)
    assert lengths == of_engine
    assert relative_error(probabilities, answers) < 1e-4


def test_what_the_folder_holds(plain, tmp_path):
    """Programs name their platforms and a free batch; what lengths share is stored once; a second
    export replaces the first.
    """
    out = shutil.copytree(plain, tmp_path / "out")
    exported = jax.export.deserialize(bytearray((out / "16.stablehlo").read_bytes()))
    assert exported.platforms == ("cpu", "cuda", "tpu")
    assert str(exported.in_avals[-1].shape) == "(batch, 32, 32, 3)"
    plan = json.loads((out / "model.json").read_text())
    with np.load(out / "weights.npz") as arrays:
        stored = set(arrays.files)
    used = [name for program in plan["programs"].values() for name in program["weights"]]
    assert set(used) == stored
    assert len(stored) < 0.7 * len(used)
    assert [path.name for path in plain.parent.iterdir()] == ["out"]
    folder.write(out, subject("vit")[0], None, {}, {"budget": 1})
    assert json.loads((out / "model.json").read_text())["budget"] == 1
    assert not list(out.glob("*.stablehlo"))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    """It isn't emptied."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").touch()
    with pytest.raises(UserError, match="which no export has written"):
        folder.write(tmp_path / "out", subject("vit")[0], None, {}, {})
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "thesis.tex"]
