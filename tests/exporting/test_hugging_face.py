"""The Hugging Face layout: what is read back answers as the workdir's model does."""

import dataclasses
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file

import vintk_jax
from vintk_jax import export
from vintk_jax.adaptive import assigner_files, assigner_networks
from vintk_jax.adaptive.answers import features_of
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.command_line import take_compile_cache
from vintk_jax.defaults.training import training
from vintk_jax.errors import UserError
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.spaces import conformance
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.architecture import keep_arch
from vintk_jax.weights.workdir import write_checkpoints
from vintk_jax.workdir.config_claims import claim_workdir

CLASSES = tuple("0123456789")
# Of many brightnesses.
IMAGES = (
    np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3))
    * np.linspace(0, 1, 24)[:, None, None, None]
)
IMAGES = IMAGES.astype(np.uint8)
ACCURACIES = {"16": 0.75, "4": 0.5, "1": 0.25}


def trained(workdir, **model):
    """A workdir as training leaves it, with weights that tell images apart; its config."""
    config = training()
    take_compile_cache(config)
    config.model.update(embed_dim=16, depth=1, num_heads=2, **model)
    claim_workdir(workdir, "train", config, ())
    keep_arch(config.model, workdir)
    spec = kind_of(config).build(config, len(CLASSES))
    shown = jnp.zeros((1, *spec.shape))
    params = conformance.draw(spec.model, shown, spec.grids[0], seed=1)
    write_checkpoints(workdir, spec, params, CLASSES)
    lines = [{"step": 0, "accuracy": ACCURACIES}, {"step": 9, "accuracy": {"16": 0.9}}]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return config


def assign(workdir):
    """An assigner with random weights beside it, at a setting that uses several lengths."""
    predictor = Predictor.load(workdir)
    plans = Plans(predictor)
    bare = make_assigner("shared", 8, "each", 8, 0.3, plans.costs)
    shortest = plans.lengths[0]
    features = features_of(*jax.jit(shortest.__call__)(shortest.variables, IMAGES))
    example = assigner_networks.example(bare.module, features.shape[1], 8)
    params = tuple(conformance.draw(bare.module, example, size=0.45, seed=i) for i in range(2))
    # At this price half of the images stay at the shortest length.
    chances = np.asarray(jax.jit(bare.chances)(params[0], features))
    gains = (chances[:, 1:] - chances[:, :1]) / np.array(plans.costs[1:])
    price = float(np.median(gains.max(axis=1)))
    point = Point(price, 0.7, 0.5, 0.1, (0.5, 0.3, 0.2), lost=1)
    calibration = Calibration(100, 0.75, [point], [point])
    tla = {"kind": "shared", "width": 8, "thumbnail": 8, "target": "each", "keep": 0.3}
    record = {
        "model": predictor.identity,
        "names": plans.names,
        "features": features.shape[1],
        "looks": 2,
        "tla": tla,
    }
    assigner = dataclasses.replace(bare, params=params)
    assigner_files.save(workdir / "assign", assigner, calibration, record)
    return assigner.at(point)


def run_export(workdir, folder, *options):
    """The command."""
    export.main(
        [
            "export",
            "--config=configs/export.py",
            f"--workdir={workdir}",
            f"--config.folder={folder}",
            "--config.formats=('huggingface',)",
            *options,
        ]
    )


@pytest.fixture(scope="module")
def adaptive(tmp_path_factory):
    """Workdir, assigner and exported folder."""
    base = tmp_path_factory.mktemp("adaptive")
    trained(base / "run")
    assigner = assign(base / "run")
    budget = ("--config.budget.max_drop=10", "--config.license=apache-2.0")
    run_export(base / "run", base / "model", *budget)
    return base / "run", assigner, base / "model"


def test_answers_are_the_workdirs(adaptive):
    """At each length, and at the length that each image is given."""
    workdir, assigner, folder = adaptive
    predictor = Predictor.load(workdir)
    model = vintk_jax.from_pretrained(folder)
    assert model.classes == CLASSES
    assert model.lengths == ("1", "4", "16")
    for name in model.lengths:
        np.testing.assert_array_equal(model.at(name, IMAGES), np.asarray(predictor(IMAGES, name)))
    plan = assigner.plan(Plans(predictor))
    block = Engine(plan, predictor.shape).all(IMAGES)
    probabilities, lengths = model(IMAGES)
    assert lengths == [plan.steps[step].name for step in block.steps]
    assert len(set(lengths)) > 1
    np.testing.assert_array_equal(probabilities, block.probabilities)


def test_the_card_says_what_was_measured(adaptive):
    """Its front matter is YAML; accuracies are those of the exported checkpoint's step."""
    _, _, folder = adaptive
    _, front_matter, text = (folder / "README.md").read_text().split("---\n", 2)
    known = yaml.safe_load(front_matter)
    assert known["library_name"] == "vintk_jax"
    assert known["pipeline_tag"] == "image-classification"
    assert known["license"] == "apache-2.0"
    for accuracy in ACCURACIES.values():
        assert f"{accuracy:.2%}" in text
    assert "90.00%" not in text
    assert "accuracy 70.00% for 50%" in text
    assert "`digits`" in text
    weights = load_file(folder / "model.safetensors")
    assert all(name.startswith("params.") for name in weights)
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    assert processor["crop_size"] == {"height": 32, "width": 32}


def test_a_searched_architecture_without_an_assigner(tmp_path):
    """The folder holds the architecture; every image runs at the longest length."""
    arch = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12}
    best = tmp_path / "best.json"
    best.write_text(json.dumps({"space": "autoformer-tiny", "arch": arch}))
    trained(tmp_path / "run", arch=str(best), lengths=(2, 1))
    best.unlink()
    run_export(tmp_path / "run", tmp_path / "model")
    shutil.rmtree(tmp_path / "run")
    model = vintk_jax.from_pretrained(tmp_path / "model")
    _, lengths = model(IMAGES[:2])
    assert lengths == ["4", "4"]
    assert "Nobody has chosen one" in (tmp_path / "model" / "README.md").read_text()


def test_what_is_no_model_is_told(adaptive, tmp_path):
    """One message each."""
    with pytest.raises(UserError, match="Expected a folder"):
        vintk_jax.from_pretrained(tmp_path)
    damaged = shutil.copytree(adaptive[2], tmp_path / "damaged")
    content = (damaged / "model.safetensors").read_bytes()
    (damaged / "model.safetensors").write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match="Expected weights in"):
        vintk_jax.from_pretrained(damaged)
    other = shutil.copytree(adaptive[2], tmp_path / "other")
    described = json.loads((other / "config.json").read_text())
    described["training"]["model.embed_dim"] = 24
    (other / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="not those of the model"):
        vintk_jax.from_pretrained(other)
    described["layout"] = 99
    (other / "config.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="layout 99"):
        vintk_jax.from_pretrained(other)
