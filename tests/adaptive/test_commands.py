"""`assign` and `infer`, from a training on a few digits to the comparison; killed or not."""

import json
import shutil
import signal
import time

import numpy as np
import pytest
from PIL import Image
from training.commands import command, run, small_training, start

from vintk_jax import assign as assign_command
from vintk_jax import infer as infer_command
from vintk_jax.errors import UserError
from vintk_jax.inference.predictions import Predictions, summarise

LABELS = [
    "--config.labels.split=assign[:160]",
    "--config.labels.calibrate_split=calibrate[:96]",
    "--config.tla.batch_size=32",
]
BUDGET = [
    "--config.budget.max_drop=inf",
    "--config.budget.max_cost=0.7",
    "--config.data.threads=0",
    "--config.compare.rounds=2",
    "--config.compare.drops=(20.0,)",
]


def assign(workdir, *options):
    """Arguments of `assign`."""
    return command("assign", "tla_digits", workdir, *LABELS, *BUDGET, *options)


def infer(workdir, *options):
    """Arguments of an adaptive `infer`."""
    return command("infer", "tla_digits", workdir, *LABELS, *BUDGET, *options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A workdir with a training of two lengths."""
    workdir = tmp_path_factory.mktemp("adaptive") / "trained"
    run(
        small_training(
            workdir,
            "--config.data.train_split=train[:2000]",
            "--config.optimizer.epochs=5",
            "--config.optimizer.name=muon",
        )
    )
    return workdir


@pytest.fixture(scope="module")
def assigned(trained, tmp_path_factory):
    """A copy of it with an assigner, and what `assign` printed."""
    workdir = tmp_path_factory.mktemp("adaptive") / "assigned"
    shutil.copytree(trained, workdir)
    return workdir, run(assign(workdir))


def record(workdir):
    """The assigner's, which holds a checksum over its weights."""
    return json.loads((workdir / "assign" / "assigner.json").read_text())


def test_what_assign_leaves(assigned):
    """The labels of both kinds of images, a calibration over them, the multiply-adds of the lengths
    and of the assigner.
    """
    workdir, output = assigned
    kept = record(workdir)
    assert "Use it: python -m vintk_jax.infer --config configs/tla_digits.py" in output
    assert list(kept["labels"]) == ["160 images, not trained on", "2,000 images, trained on"]
    for shares in kept["labels"].values():
        assert sum(share for name, share in shares.items() if name != "none") == pytest.approx(1)
    assert kept["calibration"]["images"] == 96
    for point in (kept["calibration"]["assigned"][0], kept["calibration"]["assigned"][-1]):
        assert len(point["confidences"]) == 10
        assert sum(point["confidences"]) == 96
    costs = list(kept["multiply_adds"].values())
    assert costs[0] < costs[1]
    assert 0 < costs[2] < costs[0]
    assert (workdir / "assign.config.json").exists()


def test_a_dry_run_foretells(trained):
    """From images that the model wasn't trained on; nothing is left."""
    before = sorted(trained.rglob("*"))
    output = run(assign(trained, "--dry-run"))
    assert "Foretold from 96 images: 4 tokens " in output
    assert "a cascade by confidence takes " in output
    assert sorted(trained.rglob("*")) == before


@pytest.mark.slow
def test_a_killed_assign_ends_as_the_one_never_killed(trained, assigned, tmp_path):
    """SIGKILL when the first answers are on disk; then the same command: the same weights and
    thresholds.
    """
    workdir = tmp_path / "killed"
    shutil.copytree(trained, workdir)
    process = start(assign(workdir))
    while process.poll() is None and not list((workdir / "assign").glob("answers/*/*.npz")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (workdir / "assign" / "assigner.json").exists()
    run(assign(workdir))
    assert record(workdir) == record(assigned[0])


def test_adaptive_inference(assigned, tmp_path):
    """A prediction for each image in order, all methods compared, a picture and a page; the
    accuracies are those of the predictions.
    """
    workdir = shutil.copytree(assigned[0], tmp_path / "workdir")
    output = run(infer(workdir))
    lines = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == list(range(32))
    result = json.loads((workdir / "adaptive.json").read_text())
    assert {"dataset", "device", "batch_size", "methods"} <= set(result)
    names = {entry["name"] for entry in result["methods"]}
    assert {"fixed-16", "fixed-4", "random", "cascade", "tome", "evit", "tla", "oracle"} == names
    for entry in result["methods"]:
        assert sum(entry["mix"].values()) == pytest.approx(1)
        assert entry["images_per_second"] > 0
    tla = next(entry for entry in result["methods"] if entry["name"] == "tla")
    assert tla["budget"] is None
    assert tla["accuracy"] == np.mean([line["class"] == str(line["label"]) for line in lines])
    assert tla["mix"] == {
        name: share
        for name in ("4", "16")
        if (share := np.mean([line["tokens"] == name for line in lines]))
    }
    by_name = {entry["name"]: entry for entry in result["methods"]}
    assert by_name["oracle"]["accuracy"] >= max(
        by_name["fixed-16"]["accuracy"], by_name["fixed-4"]["accuracy"]
    )
    page = (workdir / "adaptive.html").read_text()
    assert page.count("data:image/png;base64") == sum(
        min(round(32 * share), 24) for share in tla["mix"].values()
    )
    assert "http" not in page.replace("http-equiv", "").replace("http://www.w3.org", "")
    assert (workdir / "adaptive.png").read_bytes()[:4] == b"\x89PNG"
    assert "fixed-16" in output


@pytest.mark.slow
def test_a_killed_infer_goes_on(assigned, tmp_path):
    """From the lines that are there, to the same file; a torn line is made again."""
    workdir = tmp_path / "killed"
    shutil.copytree(assigned[0], workdir)
    options = ["--config.data.split=test[:400]", "--config.compare.rounds=0"]
    run(infer(workdir, *options))
    whole = (workdir / "predictions.jsonl").read_bytes()
    process = start(infer(workdir, *options))
    while process.poll() is None and not list(workdir.glob(".predictions*.partial")):
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    partial = next(iter(workdir.glob(".predictions*.partial")), None)
    if partial is None:  # it was done before the signal came
        pytest.fail("infer ended before it could be killed")
    partial.write_bytes(whole[: len(whole) // 2])
    output = run(infer(workdir, *options))
    assert (workdir / "predictions.jsonl").read_bytes() == whole
    assert "400" in output


def test_broken_images_keep_their_places(assigned, tmp_path):
    """Of a folder without labels: an error in its place, the rest predicted, nothing compared."""
    photos = tmp_path / "photos"
    photos.mkdir()
    for i, side in enumerate((40, 300, 33)):
        Image.fromarray(np.full((side, side + 9, 3), 60 * i, np.uint8)).save(photos / f"{i}.png")
    (photos / "1b.jpg").write_bytes(b"none")
    workdir = tmp_path / "workdir"
    shutil.copytree(assigned[0], workdir)
    output = run(infer(workdir, f"--config.data.source=images:{photos}"))
    lines = [json.loads(line) for line in (workdir / "predictions.jsonl").read_text().splitlines()]
    assert ["error" in line for line in lines] == [False, False, True, False]
    assert "1b.jpg can't be read" in lines[2]["error"]
    assert [line["image"] for line in lines if "error" not in line] == ["0.png", "1.png", "2.png"]
    assert not (workdir / "adaptive.json").exists()
    assert "Traceback" not in output


@pytest.mark.slow
def test_labels_of_training_images_by_cross_fitting(trained, tmp_path):
    """Three models, each trained without a part, label that part; an assigner of them is calibrated
    elsewhere.
    """
    workdir = tmp_path / "crossed"
    shutil.copytree(trained, workdir)
    output = run(assign(workdir, "--config.labels.folds=3"))
    assert "Fold 3 of 3" in output
    assert next(iter(record(workdir)["labels"])) == "2,000 images, not trained on"
    splits = [
        json.loads((folder / "train.config.json").read_text())["data.train_split"]
        for folder in sorted((workdir / "assign" / "folds").iterdir())
    ]
    assert splits == ["train[667:2000]", "train[0:667]+train[1333:2000]", "train[0:1333]"]


@pytest.mark.slow
def test_the_whole_flow(tmp_path):
    """A search finds an architecture, which is trained at two lengths, gets an assigner, and runs
    each image at its own length.
    """
    found = tmp_path / "search"
    workdir = tmp_path / "found"
    small = [
        "--config.space=tiny_space:SPACE",
        "--config.inputs.num_images=4",
        "--config.inputs.image_size=16",
        "--config.ntk.num_classes=5",
    ]
    few = ["--config.search.population=4", "--config.search.num_candidates=6"]
    run(command("search", "vit_space", found, *small, *few))
    best = json.loads((found / "best.json").read_text())
    run(
        small_training(
            workdir,
            f"--config.model.arch={found / 'best.json'}",
            "--config.data.train_split=train[:500]",
        )
    )
    assert json.loads((workdir / "arch.json").read_text()) == best
    run(assign(workdir))
    run(infer(workdir))
    entries = {
        entry["name"]: entry
        for entry in json.loads((workdir / "adaptive.json").read_text())["methods"]
    }
    assert entries["fixed-16"]["flops_per_image"] > entries["fixed-4"]["flops_per_image"]
    assert len((workdir / "predictions.jsonl").read_text().splitlines()) == 32


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--config.labels.split=train[1900:]"],
            "train[1900:]: 100 of them are in train[:2000]",
        ),
        (
            ["--config.labels.calibrate_split=assign[100:200]"],
            "labels.split=assign[:160], got 60 that are in both",
        ),
        (
            ["--config.labels.calibrate_split=train[10:20]", "--config.labels.folds=2"],
            "got 10 that are in both",
        ),
        (
            ["--config.labels.calibrate_split=", "--config.labels.folds=2"],
            "Expected labels.calibrate_split beside labels.folds=2",
        ),
        (["--config.tla.kind=share"], "Did you mean"),
        (["--config.checkpoint=first"], "best or last"),
    ],
)
def test_mistakes_end_in_one_message(trained, options, words):
    """Before anything is written."""
    with pytest.raises(UserError) as caught:
        assign_command.main(
            [
                "assign",
                "--config",
                "configs/tla_digits.py",
                "--workdir",
                str(trained),
                *LABELS,
                *options,
            ]
        )
    assert words in str(caught.value)
    assert not (trained / "assign").exists()


def test_inference_without_an_assigner(trained):
    """Says which command comes first."""
    with pytest.raises(UserError, match=r"vintk_jax\.assign"):
        infer_command.main(
            ["infer", "--config", "configs/tla_digits.py", "--workdir", str(trained)]
        )


def test_budgets_that_nothing_is_within(assigned):
    """Say what would be."""
    options = ["--config.budget.max_cost=0.001"]
    with pytest.raises(UserError, match="least cost is"):
        infer_command.main(
            ["infer", "--config", "configs/tla_digits.py", "--workdir", str(assigned[0]), *options]
        )


def test_a_file_of_predictions(tmp_path):
    """Goes on behind the last whole line of the same run, and of no other; sums itself up."""
    path = tmp_path / "predictions.jsonl"
    lines = [
        {"image": 0, "label": 1, "tokens": "4", "class": "b"},
        {"image": 1, "label": 0, "tokens": "16", "class": "b"},
        {"image": 2, "error": "gone"},
    ]
    out = Predictions(path, "one")
    out.add(lines[:2])
    out.close()
    with open(tmp_path / ".predictions.jsonl.one.partial", "a") as file:
        file.write('{"image": 2, "err')
    other = Predictions(path, "two")
    assert other.done == 0
    other.close()
    again = Predictions(path, "one")
    assert again.done == 2
    again.add(lines[2:])
    again.finish()
    assert [json.loads(line) for line in path.read_text().splitlines()] == lines
    assert summarise(path, ("a", "b")) == {
        "images": 3,
        "errors": 1,
        "mix": {"4": 0.5, "16": 0.5},
        "accuracy": 0.5,
    }
