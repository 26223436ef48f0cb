"""The command from a folder to a page. The stages run in this process, but for the slow tests,
which kill them.
"""

import importlib
import json
import random
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest
from adapting.runs import SMALL, write_folder
from safetensors.numpy import load_file, save_file
from training.commands import checksums

import vintk_jax
from vintk_jax import adapt, config_files
from vintk_jax.adapting import measuring, outcomes, running
from vintk_jax.adapting.running import run_process, shown
from vintk_jax.data.sources import open_source
from vintk_jax.errors import UserError
from vintk_jax.exporting import timm
from vintk_jax.inference.predictor import OneLength
from vintk_jax.models.vit import ViT
from vintk_jax.spaces import conformance

STAGES = ["search", "train", "assign", "infer", "export", "page"]


def words_for(source, workdir, *more):
    """A command line."""
    config = f"--config={config_files.shipped()['adapt']}"
    return [config, f"--config.data.source={source}", "--workdir", str(workdir), *SMALL, *more]


@pytest.fixture(scope="module")
def in_process():
    """Stages run in this process, and are counted."""
    patch = pytest.MonkeyPatch()
    ran = []

    def run_here(words, log, environment, tick):
        module, *rest = words
        ran.append(module.removeprefix("vintk_jax."))
        importlib.import_module(module).main([module, *rest])

    patch.setattr(running, "run_process", run_here)
    patch.setattr(measuring, "run_process", run_here)
    yield ran
    patch.undo()


@pytest.fixture(scope="module")
def done(in_process, tmp_path_factory):
    """A finished run, and the modules that it ran."""
    root = tmp_path_factory.mktemp("adapt")
    source = write_folder(root / "images")
    adapt.main(["adapt", *words_for(source, root / "run")])
    return root, source, list(in_process)


def test_all_stages_run_once(done, in_process):
    """After two measurements; and the same command runs none of them again."""
    root, source, ran = done
    commands = ["search", "train", "assign", "infer", "export", "adapting.results"]
    assert [name for name in ran if name != "adapting.machine"] == commands
    assert ran.count("adapting.machine") == 2  # a training's step, scoring
    assert list(running.finished(root / "run")) == STAGES
    before = len(in_process)
    adapt.main(["adapt", *words_for(source, root / "run")])
    assert len(in_process) == before


def test_what_a_run_leaves(done):
    """Accuracy by length against the predictions of the exported model on the test images."""
    root, source, _ = done
    result = json.loads((root / "run" / "adapt.json").read_text())
    assert [row["tokens"] for row in result["lengths"]] == ["4", "1"]
    model = vintk_jax.from_pretrained(root / "run" / "export")
    test = open_source(source, "test")
    made = [
        model.predictor.eval_transform(test[i], np.random.default_rng(0)) for i in range(len(test))
    ]
    images = np.stack([one["image"] for one in made])
    labels = np.array([one["label"] for one in made])
    for row in result["lengths"]:
        right = model.at(row["tokens"], images).argmax(axis=1) == labels
        assert row["accuracy"] == pytest.approx(right.mean())
        assert row["low"] <= row["accuracy"] <= row["high"]
    probabilities, _ = model(images)
    right = probabilities.argmax(axis=1) == labels
    assert result["adaptive"]["accuracy"] == pytest.approx(right.mean())
    by_class = {row["name"]: row for row in result["by_class"]}
    assert by_class["dark"]["adaptive"] == pytest.approx(right[labels == 1].mean())
    assert sum(row["images"] for row in by_class.values()) == result["images"] == len(test)


def test_the_page_has_every_part(done):
    """And lines to copy that are commands."""
    page = (done[0] / "run" / "adapt.html").read_text()
    for title in (
        "found, and why",
        "each length",
        "saves",
        "are hard",
        "classes suffer",
        "do next",
    ):
        assert title in page
    assert page.count("data:image/png;base64") >= 12
    assert "vintk infer --config tla_digits --workdir" in page


def test_another_config_is_refused(done):
    """By the name of the field, with both values."""
    root, source, _ = done
    for more in ((), ("--dry-run",)):
        words = words_for(source, root / "run", "--config.plan.epochs=3", *more)
        with pytest.raises(UserError, match=r"plan\.epochs was 2\.0, now 3\.0"):
            adapt.main(["adapt", *words])


def test_a_dry_run_writes_nothing(done, tmp_path, capsys):
    """It shows the plan."""
    _, source, _ = done
    adapt.main(["adapt", *words_for(source, tmp_path / "run", "--dry-run")])
    printed = capsys.readouterr().out
    assert all(stage in printed for stage in STAGES)
    assert "GiB" in printed
    assert not (tmp_path / "run").exists()


def test_what_is_refused_leaves_nothing(done, tmp_path):
    """So that the same workdir can be used once the mistake is mended."""
    _, source, _ = done
    words = words_for(source, tmp_path / "run", "--config.plan.epochs=0", "--config.time_h=0.001")
    with pytest.raises(UserError, match="too little for anything useful"):
        adapt.main(["adapt", *words])
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_an_architecture_and_a_model_that_are_given(done, in_process, tmp_path):
    """The stages that they stand for are not run; the model's workdir is used as it is."""
    root, source, _ = done
    begun = len(in_process)
    best = root / "run" / "search" / "best.json"
    adapt.main(["adapt", *words_for(source, tmp_path / "arch", f"--config.given.arch={best}")])
    assert "search" not in in_process[begun:]
    assert json.loads((tmp_path / "arch" / "adapt.json").read_text())["found"]["by"] == "arch"
    begun = len(in_process)
    model = tmp_path / "arch" / "model"
    words = words_for(source, tmp_path / "model", f"--config.given.model={model}")
    adapt.main(["adapt", *words])
    commands = ["assign", "infer", "export", "adapting.results"]
    assert in_process[begun:] == ["adapting.machine", *commands]
    with pytest.raises(UserError, match=r"got given\.arch and given\.model"):
        adapt.main(["adapt", *words, f"--config.given.arch={best}"])


@pytest.mark.slow
def test_weights_that_are_given(done, in_process, tmp_path):
    """A file by timm's names: its sizes are taken, at its own length and two shorter ones, and the
    training begins from its numbers.
    """
    _, source, _ = done
    model = ViT(64, (1,), (96,), 64, 5, patch_size=4, native_grid=(4, 4))
    drawn = conformance.draw(model, jnp.zeros((1, 16, 16, 3)))
    file = tmp_path / "deit_mini.safetensors"
    save_file(timm.state_dict(OneLength(model, drawn, None, (0, 0, 3))), file)
    words = words_for(source, tmp_path / "run", f"--config.given.weights={file}")
    words.remove("--config.plan.lengths=(2,1)")
    adapt.main(["adapt", *words, "--config.plan.epochs=0.1"])
    result = json.loads((tmp_path / "run" / "adapt.json").read_text())
    assert [row["tokens"] for row in result["lengths"]] == ["16", "9", "4"]
    assert result["found"] == {"by": "weights", "from": str(file)}
    trained = load_file(tmp_path / "run" / "export" / "model.safetensors")
    (kernel,) = (trained[name] for name in trained if name.endswith("block_0.mlp.fc1.kernel"))
    begun = np.asarray(drawn["params"]["block_0"]["mlp"]["fc1"]["kernel"])
    assert kernel.shape == begun.shape == (64, 96)
    assert np.abs(kernel - begun).max() < 0.1 * np.abs(begun).max()


def test_a_stage_that_fails(tmp_path):
    """Its error is told, as one message."""
    words = ["vintk_jax.train", "--config", "nowhere.py"]
    with pytest.raises(UserError, match=r"train stopped: Expected a config file, got nowhere\.py"):
        run_process(words, tmp_path / "log", running.environment(vintk_cache()), lambda: None)


def vintk_cache():
    """Where tests keep programs."""
    from vintk_jax.compile_cache import DEFAULT_CACHE

    return DEFAULT_CACHE


def test_a_stage_ends_with_its_starter(tmp_path):
    """A process whose standard input is closed is gone at once."""
    program = "import time; from vintk_jax.adapting.stage import end_with_starter as end; end(); "
    process = subprocess.Popen(
        [sys.executable, "-c", program + "print('up', flush=True); time.sleep(60)"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        assert process.stdout.readline() == b"up\n"
        process.stdin.close()
        assert process.wait(10) == -signal.SIGKILL


def test_statistics():
    """Wilson's interval against its formula; classes that lose come first."""
    low, high = outcomes.interval(8, 10)
    assert (low, high) == pytest.approx((0.490162, 0.943318), abs=1e-5)
    labels = np.array([0, 0, 1, 1, 1])
    longest = np.array([True, True, True, False, True])
    adaptive = np.array([True, True, False, True, False])
    rows = outcomes.by_class(("a", "b", "c"), labels, longest, adaptive)
    assert [(row["name"], row["lost"], row["gained"]) for row in rows] == [
        ("b", 2, 1),
        ("a", 0, 0),
    ]
    right = np.array([[True, True], [False, True], [False, False], [True, False]])
    chosen = outcomes.galleries(right, np.array([0.5, 0.6, 0.7, 0.8]), 5)
    assert chosen == {"easy": [0], "needy": [1], "hard": [2]}


def test_a_command_as_a_person_types_it():
    """The config by its name; brackets in quotes."""
    command = [
        "vintk_jax.train",
        "--config",
        "/a/b/revit_digits.py",
        "--config.model.lengths=(4,2)",
    ]
    assert shown(command) == 'vintk train --config revit_digits "--config.model.lengths=(4,2)"'


@pytest.mark.slow
def test_five_kills_change_nothing(tmp_path):
    """At random points of the run; what it ends with is that of a run never killed."""
    source = write_folder(tmp_path / "images")

    def start(workdir):
        return subprocess.Popen(
            [sys.executable, "-m", "vintk_jax.adapt", *words_for(source, workdir)],
            stdout=subprocess.DEVNULL,
        )

    began = time.monotonic()
    assert start(tmp_path / "never").wait(500) == 0
    took = time.monotonic() - began
    rng = random.Random(0)
    for _ in range(5):
        process = start(tmp_path / "killed")
        try:
            process.wait(rng.uniform(0.1, 0.5) * took)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    assert start(tmp_path / "killed").wait(500) == 0

    def outcome(workdir):
        result = json.loads((workdir / "adapt.json").read_text())
        kept = ("found", "params", "lengths", "adaptive", "points", "by_class", "thresholds")
        record = json.loads((workdir / "model" / "assign" / "assigner.json").read_text())
        return (
            {name: result[name] for name in kept},
            checksums(workdir / "model", "last"),
            checksums(workdir / "model", "best"),
            record["checksum"],
            (workdir / "export" / "model.safetensors").read_bytes(),
        )

    assert outcome(tmp_path / "killed") == outcome(tmp_path / "never")
