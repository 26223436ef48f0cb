"""`python -m vintk_jax.train` and what it leaves behind, killed or not."""

import json
import random
import shutil
import signal
import time

import jax
import numpy as np
import pytest
from damage import change_a_number
from PIL import Image
from training.commands import SMALL, checksums, command, metrics, run, small_training, train

from vintk_jax import command_line, spaces
from vintk_jax import infer as infer_command
from vintk_jax.errors import UserError
from vintk_jax.spaces.autoformer import TINY
from vintk_jax.tasks.architecture import keep_arch, with_kept_arch
from vintk_jax.tasks.classification import build

RUN = [
    "--config.optimizer.epochs=8",
    "--config.checkpoints.every_epochs=1",
    "--config.optimizer.ema=0.9",
    "--config.loss.drop_path=0.2",
]
RUN += ["--config.augment.mixup=0.5", "--config.augment.padding=2", "--config.optimizer.name=muon"]
RUN += ["--config.mesh.cpu_devices=2"]  # which share each batch


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run never killed: its workdir and what it printed."""
    workdir = tmp_path_factory.mktemp("train") / "whole"
    return workdir, run(small_training(workdir, *RUN))


def kill_once(workdir, after, *options):
    """Start, wait until `after` lines of metrics are there, SIGKILL; False if it ended before."""
    process = train(workdir, *options)
    while process.poll() is None:
        if (workdir / "metrics.jsonl").exists() and len(
            (workdir / "metrics.jsonl").read_text().splitlines()
        ) >= after:
            process.send_signal(signal.SIGKILL)
            process.communicate()
            return True
        time.sleep(0.005)
    return False


def test_what_it_leaves(whole):
    """16 steps, 8 evaluations; the last two checkpoints and the best; TensorBoard's file; the
    accuracies printed are those written.
    """
    workdir, output = whole
    lines = metrics(workdir)
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 17))
    evaluated = [line for line in lines if "accuracy" in line]
    assert [line["step"] for line in evaluated] == list(range(2, 17, 2))
    assert {p.name for p in (workdir / "checkpoints" / "last").iterdir()} == {"14", "16"}
    best = max(evaluated, key=lambda line: (line["accuracy"]["16"], -line["step"]))
    assert {p.name for p in (workdir / "checkpoints" / "best").iterdir()} == {str(best["step"])}
    assert list((workdir / "tensorboard").iterdir())
    for name, value in evaluated[-1]["accuracy"].items():
        assert f"{name}     {value:.2%}".split() in [line.split() for line in output.splitlines()]


def test_a_killed_run_ends_as_the_one_never_killed(whole, tmp_path):
    """SIGKILL between two checkpoints: bitwise the same state, the same metrics."""
    workdir = tmp_path / "killed"
    assert kill_once(workdir, 10, *RUN)
    assert "restoring" in run(small_training(workdir, *RUN))
    assert checksums(workdir) == checksums(whole[0])
    assert checksums(workdir, "best") == checksums(whole[0], "best")
    assert metrics(workdir) == metrics(whole[0])


@pytest.mark.slow
def test_five_kills_at_random_steps(whole, tmp_path):
    """Bitwise the same state after five."""
    draw = random.Random(0)
    kills = 0
    workdir = tmp_path / "killed"
    for after in sorted(draw.sample(range(2, 23), 5)):
        kills += kill_once(workdir, after, *RUN)
    assert kills == 5
    run(small_training(workdir, *RUN))
    assert checksums(workdir) == checksums(whole[0])
    assert metrics(workdir) == metrics(whole[0])


def spoiled(whole, tmp_path, step="16"):
    """A copy of the run, a number of whose last checkpoint's parameters is changed."""
    workdir = tmp_path / "spoiled"
    shutil.copytree(whole[0], workdir)
    change_a_number(workdir / "checkpoints" / "last" / step / "params")
    return workdir


def test_a_corrupt_checkpoint_is_named_and_the_one_before_it_used(whole, tmp_path):
    """The run goes on from step 14 and ends the same."""
    workdir = spoiled(whole, tmp_path)
    output = " ".join(run(small_training(workdir, *RUN)).split())
    assert "is corrupt (the numbers of its params are not those that were written)" in output
    assert (workdir / "checkpoints" / "corrupt-last-16").is_dir()
    assert checksums(workdir) == checksums(whole[0])
    assert metrics(workdir) == metrics(whole[0])


def test_a_torn_checkpoint_is_not_taken(whole, tmp_path):
    """A checkpoint that lost its files, all of them: one message, nothing trained."""
    workdir = tmp_path / "torn"
    shutil.copytree(whole[0], workdir)
    for step in ("14", "16"):
        shutil.rmtree(workdir / "checkpoints" / "last" / step / "params")
    with pytest.raises(UserError, match="None of the checkpoints"):
        run(small_training(workdir, *RUN))


def test_predictions_from_a_plain_checkpoint(whole, tmp_path):
    """One command: every length on the test images as in training, and on a folder with a broken
    image in it.
    """
    workdir, _ = whole
    run(command("infer", "infer", workdir, "--config.checkpoint=last"))
    lines = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert len(lines) == 2 * 32
    accuracy = {
        name: np.mean(
            [line["class"] == str(line["label"]) for line in lines if line["tokens"] == name]
        )
        for name in ("16", "4")
    }
    assert accuracy == metrics(workdir)[-1]["accuracy"]
    photos = tmp_path / "photos"
    photos.mkdir()
    Image.fromarray(np.full((50, 40, 3), 90, np.uint8)).save(photos / "grey.png")
    (photos / "broken.jpg").write_bytes(b"none")
    options = [
        f"--config.data.source=images:{photos}",
        "--config.lengths=(2,)",
        "--config.data.batch_size=3",
    ]
    run(command("infer", "infer", workdir, *options))
    broken, grey = (
        json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()
    )
    assert "broken.jpg can't be read" in broken["error"]
    assert (grey["image"], grey["tokens"]) == ("grey.png", "4")
    assert grey["class"] in map(str, range(10))


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("--config.model.lengths=(2,4)", "longest first"),
        ("--config.model.lengths=(64,)", "from 32"),
        ("--config.model.num_heads=3", "num_heads=3"),
        ("--config.model.dtype=float23", "float23"),
        ("--config.model.init=orthogonal", "orthogonal"),
        ("--config.model.arch=/nowhere/best.json", "no such file"),
        ("--config.optimizer.accumulate=3", "got 32"),
        ("--config.mesh.tensor=3", "tensor=3"),
        ("--config.loss.distill=2.0", "loss.distill"),
        (
            "--config.optimizer.epochs=0.0",
            "a positive number of optimizer.epochs (or optimizer.steps), got 0.0",
        ),
        ("--config.optimizer.warmup=1.0", "warm-up"),
        ("--config.augment.erasing=2.0", "augment.erasing"),
    ],
)
def test_mistakes_end_in_one_message(option, words, tmp_path):
    """Before anything is written."""
    with pytest.raises(UserError) as caught:
        run(small_training(tmp_path / "w", option))
    assert words in str(caught.value)
    assert not (tmp_path / "w").exists()


def test_predicting_where_nothing_was_trained(tmp_path):
    """Says which command comes first."""
    with pytest.raises(UserError, match=r"vintk_jax\.train"):
        infer_command.main(["infer", "--config", "configs/infer.py", "--workdir", str(tmp_path)])


def test_another_model_in_the_same_workdir_is_refused(whole, tmp_path):
    """By the fields of the config that differ."""
    with pytest.raises(UserError, match=r"model\.depth was 2, now 3"):
        run(small_training(whole[0], *RUN, "--config.model.depth=3"))


def test_a_found_architecture_at_two_lengths(tmp_path):
    """best.json of a search: the space's own count of parameters, but for smaller patches and the
    second length's norms.
    """
    arch = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12}
    (tmp_path / "best.json").write_text(json.dumps({"space": "autoformer-tiny", "arch": arch}))
    config = command_line.parse(
        [
            "train",
            "--config",
            "configs/revit_digits.py",
            *SMALL,
            f"--config.model.arch={tmp_path / 'best.json'}",
        ],
        command="train",
        about="",
        default_config="",
    ).config
    trained = build(config, 10)
    assert trained.grids == ((4, 4), (2, 2))
    count = sum(
        leaf.size for leaf in jax.tree.leaves(jax.eval_shape(trained.draw, jax.random.key(0)))
    )
    wanted = TINY.cost(TINY.from_json(arch), 64, 10).params
    smaller_patches = 3 * (16**2 - 8**2) * 192
    second_norms = 25 * 2 * 192
    assert count == wanted - smaller_patches + second_norms
    keep_arch(config.model, tmp_path / "workdir")
    (tmp_path / "best.json").unlink()
    config.model = with_kept_arch(config.model, tmp_path / "workdir")
    assert build(config, 10) == trained


def test_a_found_model_that_is_no_vit(tmp_path):
    """A PiT's best.json: one length, its own initialisers, and what it can't do told."""
    arch = {"base_dim": 16, "mlp_ratio": 2, "depth": [1, 4, 2], "num_heads": [2, 2, 4]}
    (tmp_path / "best.json").write_text(json.dumps({"space": "pit", "arch": arch}))
    arch_option = f"--config.model.arch={tmp_path / 'best.json'}"

    def parse(*options):
        words = ["train", "--config", "configs/revit_digits.py", arch_option, *options]
        return command_line.parse(words, command="train", about="", default_config="").config

    trained = build(parse("--config.model.lengths=(4,)"), 10)
    assert trained.names == ("all",)
    variables = jax.eval_shape(trained.draw, jax.random.key(0))
    pit = spaces.get("pit")
    assert (
        sum(leaf.size for leaf in jax.tree.leaves(variables))
        == pit.cost(pit.from_json(arch), 32, 10).params
    )
    inner = trained.draw(jax.random.key(0))["params"]["stage_0"]["block_0"]["mlp"]["fc1"]["kernel"]
    # the model's own 0.02, not one over the inputs' root, 0.18
    assert 0.015 < float(inner.std()) < 0.025
    for options, words in (
        (("--config.model.lengths=(4,)", "--config.model.dtype=bfloat16"), "computes in float32"),
        ((), "one length"),
    ):
        with pytest.raises(UserError, match=words):
            build(parse(*options), 10)
