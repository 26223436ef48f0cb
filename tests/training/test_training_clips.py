"""Training a video model: the command on the moving digits, and what doesn't fit."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.commands import command, metrics, run

from vintk_jax import command_line, spaces
from vintk_jax import train as train_command
from vintk_jax.adaptive.answers import thumbnails
from vintk_jax.data.moving import DIRECTIONS
from vintk_jax.defaults.clips import clips
from vintk_jax.errors import UserError
from vintk_jax.inference.predictor import Predictor
from vintk_jax.tasks import kind_of
from vintk_jax.tasks.architecture import keep_arch, with_kept_arch
from vintk_jax.tasks.clips import build

SMALL = [
    "--config.data.train_split=train[:64]",
    "--config.data.test_split=test[:32]",
    "--config.data.batch_size=32",
    "--config.data.threads=0",
    "--config.model.embed_dim=16",
    "--config.model.depth=2",
    "--config.clips.lengths=((4, 2), (2, 2), (2, 1))",
]


def test_training_at_every_length(tmp_path):
    """The command runs, measures each length by its tokens, goes on where it was."""
    workdir = tmp_path / "run"
    options = [
        *SMALL,
        "--config.optimizer.epochs=4",
        "--config.checkpoints.every_epochs=1",
        "--config.loss.drop_path=0.1",
        "--config.augment.mixup=0.2",
    ]
    output = run(command("train", "revit_clips", workdir, *options))
    accuracies = [line["accuracy"] for line in metrics(workdir) if "accuracy" in line]
    assert len(accuracies) == 4
    assert all(set(accuracy) == {"16", "8", "2"} for accuracy in accuracies)
    assert "TimeSformer" in output
    again = run(command("train", "revit_clips", workdir, *options))
    assert f"{accuracies[-1]['16']:.2%}" in again


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.clips.lengths=((4, 2), (2, 4))", r"clips\.lengths"),
        ("--config.clips.lengths=((16, 2),)", r"up to clips\.frames=8"),
        ("--config.clips.attention=spacetime", "divided, joint, space"),
        ("--config.augment.erasing=1.5", r"augment\.erasing"),
        ("--config.clips.views=3", r"several views only of clips\.stretch frames"),
        ("--config.model.arch=/nowhere/best.json", "no such file"),
        (
            "--config.data.source=folder:/tmp",
            r"data\.source to be one of digits, clips:PATH.*got 'folder:/tmp'",
        ),
    ],
)
def test_what_does_not_fit_is_told(option, words, tmp_path):
    """One message by the field at fault, and nothing is written."""
    kept = [o for o in SMALL if o.split("=")[0] != option.split("=")[0]]
    with pytest.raises(UserError, match=words):
        train_command.main(
            [
                "train",
                "--config",
                "configs/revit_clips.py",
                f"--workdir={tmp_path / 'run'}",
                *kept,
                option,
            ]
        )
    assert not (tmp_path / "run").exists()


ARCH = {
    "space": "deit-video-mini",
    "arch": {"embed_dim": 48, "depth": 2, "num_heads": [2, 3], "mlp_ratio": [1, 2]},
}


def test_a_found_architecture(tmp_path):
    """best.json of a search, at the lengths of the config: the space's own count of parameters, but
    for the second length's norms.
    """
    path = tmp_path / "best.json"
    path.write_text(json.dumps(ARCH))
    words = [
        "train",
        "--config",
        "configs/revit_clips.py",
        f"--config.model.arch={path}",
        "--config.clips.lengths=((8, 4), (2, 2))",
    ]
    config = command_line.parse(words, command="train", about="", default_config="").config
    trained = build(config, 8)
    variables = jax.eval_shape(trained.draw, jax.random.key(0))
    norms = 2 * 48 * (3 * 2 + 1)
    space = spaces.get("deit-video-mini")
    assert (
        sum(leaf.size for leaf in jax.tree.leaves(variables))
        == space.cost(space.from_json(ARCH["arch"])).params + norms
    )
    assert trained.names == ("128", "8")
    keep_arch(config.model, tmp_path / "workdir")
    path.unlink()
    config.model = with_kept_arch(config.model, tmp_path / "workdir")
    assert build(config, 8) == trained


@pytest.mark.parametrize(
    ("config", "space", "words"),
    [
        ("revit_clips", "autoformer-tiny", "no video model.*clip_space"),
        ("revit_digits", "deit-video", "is a video model.*revit_clips"),
    ],
)
def test_architectures_of_the_other_kind_are_told(config, space, words, tmp_path):
    """An image model where clips come, and the other way round."""
    found = spaces.get(space)
    (tmp_path / "best.json").write_text(
        json.dumps({"space": space, "arch": found.to_json(found.example())})
    )
    option = f"--config.model.arch={tmp_path / 'best.json'}"
    with pytest.raises(UserError, match=words):
        train_command.main(
            [
                "train",
                "--config",
                f"configs/{config}.py",
                f"--workdir={tmp_path / 'run'}",
                option,
                "--dry-run",
            ]
        )


def test_clips_left_out_are_named(tmp_path, capsys):
    """A broken video among good clips: a note, and the run is set up without it."""
    path = tmp_path / "set"
    from PIL import Image

    for split in ("train", "test"):
        for name in ("a", "b"):
            folder = path / split / name / "clip"
            folder.mkdir(parents=True)
            for i in range(3):
                Image.fromarray(np.full((8, 8, 3), 40 * i, np.uint8)).save(folder / f"{i}.png")
    (path / "train" / "a" / "bad.mp4").write_bytes(b"nothing")
    options = [
        f"--config.data.source=clips:{path}",
        "--config.data.train_split=train",
        "--config.data.test_split=test",
    ]
    argv = [
        "train",
        "--config",
        "configs/revit_clips.py",
        f"--workdir={tmp_path / 'run'}",
        *SMALL[2:],
        *options,
        "--dry-run",
    ]
    train_command.main(argv)
    printed = capsys.readouterr().out
    assert "bad.mp4" in printed
    assert "on 2 images" in printed


@pytest.mark.slow
def test_views_are_averaged():
    """The probabilities of a clip in several views are the means of those of the views alone: where
    a training measures, and where a model is used.
    """
    config = clips()
    config.model.embed_dim = 16
    config.model.depth = 1
    config.data.image_size = 16
    config.clips.stretch = 4
    config.clips.views = 3
    config.clips.lengths = ((4, 2), (2, 1))
    config.data.train_split = "train[:8]"
    config.data.test_split = "test[:6]"
    task = kind_of(config).open_task(config)
    assert task.spec.shape == (3, 8, 16, 16, 3)
    params = jax.tree.map(
        lambda leaf: leaf + 0.3 * jax.random.normal(jax.random.key(leaf.size), leaf.shape),
        task.spec.draw(jax.random.key(0)),
    )
    seen = np.stack(
        [task.eval_transform(element, np.random.default_rng(0))["image"] for element in task.test]
    )
    config.clips.views = 1
    alone = kind_of(config).open_task(config)
    by_itself = Predictor(alone.spec, params, DIRECTIONS, alone.eval_transform)
    together = Predictor(task.spec, params, DIRECTIONS, task.eval_transform)
    for name, grid in zip(together.names, task.spec.grids, strict=True):
        wanted = np.mean([by_itself(seen[:, view], name) for view in range(3)], axis=0)
        assert np.abs(wanted - np.asarray(by_itself(seen[:, 0], name))).max() > 1e-3
        np.testing.assert_allclose(together(seen, name), wanted, atol=1e-6)
        np.testing.assert_allclose(
            jnp.exp(task.predict(task.spec.model, grid)(params, jnp.asarray(seen))),
            wanted,
            atol=1e-5,
        )
    assert thumbnails(jnp.asarray(seen), 8).shape == (6, 8, 8, 3)


def test_short_clips_are_told(tmp_path):
    """How many have fewer frames than the model is shown; all are used."""
    config = clips()
    path = tmp_path / "set.npz"
    frames = np.zeros((23, 8, 8, 3), np.uint8)
    np.savez(
        path,
        frames=frames,
        length=np.array([3, 8, 12]),
        label=np.array([0, 1, 1]),
        part=np.array([0, 0, 1]),
    )
    config.data.source = f"npz:{path}"
    config.data.train_split = "part=0"
    config.data.test_split = "part=1"
    task = kind_of(config).open_task(config)
    assert [len(source) for source in (task.train, task.test)] == [2, 1]
    assert task.train.notes == (
        "1 clip(s) of part=0 are shorter than clips.frames=8: some of their frames are shown "
        "twice.",
    )
    assert not task.test.notes


@pytest.mark.slow
def test_lengths_assigned_to_clips(tmp_path):
    """An architecture that a search found, trained, labelled and run by the commands that images
    have, in two views: every clip gets an answer.
    """
    workdir = tmp_path / "run"
    found = tmp_path / "search"
    few = [
        "--config.space=deit-video-mini",
        "--config.inputs.image_size=32",
        "--config.inputs.num_images=4",
    ]
    few += [
        "--config.ntk.num_classes=8",
        "--config.search.population=4",
        "--config.search.num_candidates=6",
    ]
    assert "4 digits clips of 8 frames of 32 px" in " ".join(
        run(command("search", "clip_space", found, *few)).split()
    )
    best = json.loads((found / "best.json").read_text())
    arch = f"--config.model.arch={found / 'best.json'}"
    views = ["--config.clips.stretch=6", "--config.clips.views=2"]
    run(
        command(
            "train", "revit_clips", workdir, *SMALL, *views, arch, "--config.optimizer.epochs=4"
        )
    )
    assert json.loads((workdir / "arch.json").read_text()) == best
    (found / "best.json").unlink()
    small = [
        "--config.data.batch_size=16",
        "--config.engine.batch_sizes=(1,)",
        "--config.tla.epochs=2",
        "--config.tla.kind=cnn",
        "--config.tla.batch_size=16",
    ]
    small += [
        "--config.labels.split=assign[:48]",
        "--config.labels.calibrate_split=calibrate[:32]",
        "--config.budget.max_drop=100",
        "--config.budget.max_cost=10",
    ]
    small += ["--config.data.split=test[:24]", "--config.compare.rounds=1"]
    assigned = run(command("assign", "tla_clips", workdir, *small))
    assert "lengths 2, 8, 16" in " ".join(assigned.split())
    told = run(command("infer", "tla_clips", workdir, *small))
    lines = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == list(range(24))
    assert {line["tokens"] for line in lines} <= {"2", "8", "16"}
    assert {line["class"] for line in lines} <= set(DIRECTIONS)
    methods = {
        entry["name"].split("-")[0]
        for entry in json.loads((workdir / "adaptive.json").read_text())["methods"]
    }
    assert {"fixed", "random", "cascade", "tla", "oracle"} <= methods
    assert "tome" not in methods
    assert "adaptive.html" in told
