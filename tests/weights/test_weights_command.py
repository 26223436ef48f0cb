"""From a file of weights to a workdir that predicts: by the command that trains nothing, and by a
training of no steps or of some.
"""

import json
import types

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file
from training.commands import SMALL, command, run
from weights.test_load import timm_names

from vintk_jax.adaptive.session import Session
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import Predictor
from vintk_jax.models.vit import ViT
from vintk_jax.tasks.objectives import normalise
from vintk_jax.train import main as train_main
from vintk_jax.weights.__main__ import main

MODEL = ViT(16, (2, 2), (32, 32), 8, 10, patch_size=8, native_grid=(4, 4))


@pytest.fixture(scope="module")
def own_variables(variables_for):
    """Variables of the model."""
    return variables_for(MODEL, jax.numpy.asarray(np.zeros((1, 32, 32, 3), np.float32)))


@pytest.fixture(scope="module")
def own_probabilities(own_variables):
    """Two images, and what the model answers."""
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    run = jax.jit(lambda v, x: jax.nn.softmax(MODEL.apply(v, normalise(x))))
    return images, np.asarray(run(own_variables, images))


@pytest.fixture
def file(tmp_path, own_variables):
    """Weights in timm's names."""
    save_file(timm_names(own_variables["params"]), tmp_path / "w.safetensors")
    return tmp_path / "w.safetensors"


def train(workdir, *options):
    """A training in this process."""
    train_main(command("train", "revit_digits", workdir, *SMALL, *options)[2:])


def assert_predicts(workdir, own_probabilities, length="16"):
    """The workdir's predictor gives the probabilities of our variables."""
    images, wanted = own_probabilities
    predictor = Predictor.load(workdir)
    np.testing.assert_allclose(predictor(images, length), wanted, atol=1e-5)
    return predictor


def test_a_workdir_without_training(file, own_probabilities, tmp_path, capsys):
    """Sizes are the file's, heads and labels those of the config.json beside it; the same command
    again is no mistake, another file is.
    """
    (tmp_path / "config.json").write_text(
        json.dumps(
            {"num_attention_heads": 2, "id2label": {str(i): f"class {i}" for i in range(10)}}
        )
    )
    workdir = tmp_path / "run"
    argv = [
        "weights",
        "--config",
        "configs/weights.py",
        f"--config.weights={file}",
        "--workdir",
        str(workdir),
    ]
    main([*argv, "--dry-run"])
    assert not workdir.exists()
    for _ in range(2):
        main(argv)
    assert (
        "a ViT of 16 columns, 2 blocks, 2 heads, 10 classes; 32 px, token lengths 16"
        in capsys.readouterr().out
    )
    assert assert_predicts(workdir, own_probabilities).classes[3] == "class 3"
    with pytest.raises(UserError, match=r"model\.pool was 'token', now 'mean'"):
        main([*argv, "--config.pool=mean"])


def test_other_classes_or_weights_replace_those_that_were_imported(
    file, own_variables, own_probabilities, tmp_path, capsys
):
    """Told, and done; the same again is left alone; what was trained is refused."""
    workdir = tmp_path / "run"
    names = tmp_path / "names.txt"
    argv = ["weights", "--config", "configs/weights.py", f"--config.weights={file}"]
    argv += ["--config.num_heads=2", "--workdir", str(workdir)]
    main(argv)
    written = workdir / "checkpoints" / "best" / "0" / "meta" / "metadata"
    before = written.stat().st_mtime_ns
    main(argv)
    assert written.stat().st_mtime_ns == before
    assert "were replaced" not in capsys.readouterr().out
    names.write_text("".join(f"kind {i}\n" for i in range(10)))
    main([*argv, f"--config.classes={names}"])
    assert "held other weights, or other names of classes; they were" in capsys.readouterr().out
    assert assert_predicts(workdir, own_probabilities).classes[3] == "kind 3"
    other = jax.tree.map(lambda leaf: leaf * 0.5, own_variables["params"])
    save_file(timm_names(other), file)
    before = Predictor.load(workdir).identity
    main([*argv, f"--config.classes={names}"])
    assert Predictor.load(workdir).identity != before
    meta = json.loads(written.read_text())
    meta["checksums"]["optimizer"] += 1
    written.write_text(json.dumps(meta))
    with pytest.raises(UserError, match="holds checkpoints of a training"):
        main(argv)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "Expected a file of weights"),
        (["--config.weights=nowhere.pth"], "There is no file of weights nowhere.pth"),
        (["--config.weights={path}"], "can't be told from .*; set num_heads"),
        (
            ["--config.weights={path}", "--config.num_heads=2", "--config.classes={path}.names"],
            "2 names; the weights have 10 classes",
        ),
    ],
)
def test_what_the_command_refuses(file, tmp_path, options, said):
    """Each in one message."""
    (tmp_path / "w.safetensors.names").write_text("cat\ndog\n")
    options = [option.format(path=file) for option in options]
    with pytest.raises(UserError, match=said):
        main(
            [
                "weights",
                "--config",
                "configs/weights.py",
                *options,
                "--workdir",
                str(tmp_path / "run"),
            ]
        )


@pytest.mark.parametrize("length", ["--config.optimizer.epochs=0", "--config.optimizer.steps=1"])
def test_a_training_begins_from_a_file(file, own_probabilities, tmp_path, capsys, length):
    """Of no steps: measured and written as they are; of one that is next to nothing: they are where
    it began.
    """
    sizes = [
        f"--config.model.weights={file}",
        "--config.model.num_heads=2",
        "--config.model.mlp_ratio=2.0",
    ]
    slow = ["--config.optimizer.learning_rate=1e-9", "--config.optimizer.warmup=0"]
    train(tmp_path / "run", *sizes, *slow, length)
    said = capsys.readouterr().out
    assert "Each of the 2 token lengths starts with the file's norms" in said.replace("\n", " ")
    assert_predicts(tmp_path / "run", own_probabilities)


@pytest.mark.slow
def test_three_commands_make_a_file_adaptive(file, tmp_path):
    """Its own length and others, fine-tuned by what its own says; then as any model (docs/
    adaptive.md).
    """
    workdir = tmp_path / "run"
    sizes = ["--config.model.num_heads=2", "--config.model.mlp_ratio=2.0"]
    tuned = ["--config.optimizer.steps=4", "--config.loss.distill=1.0"]
    train(workdir, f"--config.model.weights={file}", *sizes, *tuned)
    labels = ["--config.labels.split=assign[:64]", "--config.labels.calibrate_split="]
    tla = ["--config.tla.batch_size=32", "--config.compare.rounds=1", "--config.data.threads=0"]
    run(command("assign", "tla_digits", workdir, *labels, *tla))
    printed = run(command("infer", "tla_digits", workdir, *labels, *tla))
    assert "dapting " in printed
    result = json.loads((workdir / "adaptive.json").read_text())
    assert {"fixed-16", "fixed-4", "tla"} <= {entry["name"] for entry in result["methods"]}


def test_a_training_of_no_steps_wants_weights(tmp_path):
    """Without them it's a mistake, said before anything is written."""
    with pytest.raises(UserError, match=r"Expected a positive number of optimizer\.epochs"):
        train(tmp_path / "run", "--config.optimizer.epochs=0")
    assert not (tmp_path / "run").exists()


def test_folds_want_a_training():
    """Weights as they came can't be trained again without a part of the images, as `assign` would
    with labels.folds.
    """

    def section(**fields):
        return types.SimpleNamespace(**fields)

    labels = section(folds=5, split="train", calibrate_split="test", allow_training_images=False)
    session = section(
        config=section(labels=labels),
        training=section(data=None, optimizer=section(epochs=0.0, steps=0)),
    )
    with pytest.raises(UserError, match="no training to repeat"):
        Session.refuse_training_images(session)
