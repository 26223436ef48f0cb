"""What goes on goes on with what it was begun with, or says that it can't."""

import json

import ml_collections
import numpy as np
import pytest
from PIL import Image
from training.commands import SMALL, command

from vintk_jax import config_check, spaces
from vintk_jax.errors import UserError
from vintk_jax.inference.predictions import summarise
from vintk_jax.tasks.architecture import keep_arch
from vintk_jax.train import main as train_main
from vintk_jax.workdir.config_claims import claim_workdir, read_claimed


def test_results_on_other_images_are_not_mixed(tmp_path):
    """A search or ranking keeps which images it is on; one that doesn't know takes any."""
    config = ml_collections.ConfigDict({"inputs": {"source": "folder:x"}})

    def claim(images):
        return claim_workdir(tmp_path, "search", config, (), None, {"images": images})

    claim_workdir(tmp_path, "search", config, ())
    claim("one")
    claim("one")
    before = (tmp_path / "search.config.json").read_text()
    with pytest.raises(UserError, match="a search on other images than there are now"):
        claim("two")
    assert (tmp_path / "search.config.json").read_text() == before


def test_training_goes_on_with_its_classes(tmp_path):
    """A class that was renamed is named, and the checkpoints stay as they are."""
    data = tmp_path / "data"
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            (data / split / name).mkdir(parents=True)
            for i in range(8):
                made = rng.integers(0, 255, (32, 32, 3)).astype(np.uint8)
                Image.fromarray(made).save(data / split / name / f"{i}.png")
    run = tmp_path / "run"
    options = [*SMALL, f"--config.data.source=folder:{data}", "--config.optimizer.steps=1"]
    argv = command("train", "revit_digits", run, *options, "--config.data.batch_size=8")[2:]
    train_main(argv)
    for split in ("train", "test"):
        (data / split / "cat").rename(data / split / "zebra")
    with pytest.raises(UserError, match="trained for the classes cat, dog; the data has dog, zebr"):
        train_main(argv)
    written = run / "checkpoints" / "last" / "1" / "meta" / "metadata"
    assert json.loads(written.read_text())["classes"] == ["cat", "dog"]


def test_an_architecture_that_has_changed_since(tmp_path):
    """Is named before anything is written: the copy that predicting needs stays."""
    space = spaces.get("autoformer-tiny")
    best = tmp_path / "best.json"
    run = tmp_path / "run"
    run.mkdir()
    model = ml_collections.ConfigDict({"arch": str(best)})
    archs = [
        space.to_json(arch) for arch in (space.cheapest(), space.sample(np.random.default_rng(1)))
    ]
    best.write_text(json.dumps({"space": space.name, "arch": archs[0]}))
    keep_arch(model, run)
    best.write_text(json.dumps({"space": space.name, "arch": archs[0], "score": 1}))
    keep_arch(model, run)
    best.write_text(json.dumps({"space": space.name, "arch": archs[1]}))
    with pytest.raises(UserError, match="of another architecture than"):
        keep_arch(model, run)
    assert json.loads((run / "arch.json").read_text())["arch"] == archs[0]


@pytest.mark.parametrize(
    "content", ["[1]", "{}", '{"a": 1, "a.b": 2}', "null", '"x"', "7", b"\xff\xfe\x00", "{"]
)
def test_a_damaged_config(tmp_path, content):
    """One message, for reading it and for claiming its workdir."""
    path = tmp_path / "train.config.json"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"train\.config\.json is"):
        read_claimed(tmp_path, "train")
    if content not in ("{}", '{"a": 1, "a.b": 2}'):
        with pytest.raises(UserError, match=r"train\.config\.json is"):
            claim_workdir(tmp_path, "train", ml_collections.ConfigDict({"a": 1}), ())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("optimizer.steps", 3.0),
        ("data.batch_size", 4.0),
        ("seed", 0.5),
        ("data.threads", 10**8),
        ("engine.batch_sizes", (1.5,)),
        ("segmentation.labels", (0, 300)),
        ("segmentation.labels", (1.5, 2)),
        ("model.mlp_ratio", 1e-9),
        ("model.mlp_ratio", 1e308),
        ("search.storage", "foo"),
        ("formats", ("a",)),
        ("formats", ()),
    ],
)
def test_numbers_and_words_that_cannot_be_meant(field, value):
    """Beyond tests/faults/test_settings.py."""
    assert not config_check.RULES[field].allows(value)


def test_what_is_no_space():
    """Anything can be imported."""
    with pytest.raises(UserError, match=r"got space=json:dumps, a function"):
        spaces.get("json:dumps")


def test_accuracy_is_counted_by_class_not_by_name(tmp_path):
    """Names that are alike get numbers, so that a wrong answer of the same name isn't right."""
    from vintk_jax.data.archives import distinct

    classes = tuple(distinct(["crane", "crane", "dog"]))
    lines = [{"image": i, "label": i, "class": classes[0], "tokens": "16"} for i in range(3)]
    path = tmp_path / "p.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert summarise(path, classes)["accuracy"] == pytest.approx(1 / 3)
