"""What README and docs say to type: commands that exist with fields that exist, links that lead
somewhere, and programs that run.
"""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest
from training.commands import SMALL, command
from training.commands import run as run_command

from vintk_jax import config as configs
from vintk_jax.data import inputs, sources
from vintk_jax.exporting import folder, timm
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.models.vit import ViT
from vintk_jax.spaces import conformance
from vintk_jax.tasks.model_spec import ModelSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = {"my_space", "my_scores"}  # of docs/your_space.md, which has a test of its own


def commands_of(page):
    """The words of every command of ours in an indented block or a block of code."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    found = re.findall(
        r"^(?: {4}|\$ )?(python -m (?:vintk_jax|benchmarks)\.\w+.*)$", text, re.MULTILINE
    )
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_their_fields_exist(page, monkeypatch):
    """Each is read as it would be when typed; nothing is run."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    for words in commands_of(page):
        module = words[2]
        arguments = words[3:]
        assert importlib.util.find_spec(module), words
        own = [word for word in arguments if word.startswith("--config")]
        if not module.startswith("vintk_jax.") or not own or "N" in arguments:
            continue
        name = module.split(".")[1]
        configs.parse([name, *arguments], command=name, about="", default_config="")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Files of ours that a page links to are there."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def blocks_of(name):
    """The Python blocks of a page."""
    return re.findall(
        r"^```python\n(.*?)^```$", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL
    )


def run(program, folder, **more):
    """What a program prints in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **more}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_every_program_is_run_here():
    """A page with a new one fails here until it has a test; docs/your_space.md has one of its
    own.
    """
    counts = {str(page.relative_to(ROOT)): len(blocks_of(page.relative_to(ROOT))) for page in PAGES}
    tested = {
        "README.md": 2,
        "docs/adaptive.md": 1,
        "docs/export.md": 2,
        "docs/service.md": 1,
        "docs/weights.md": 2,
        "docs/your_data.md": 1,
    }
    assert {
        name: count for name, count in counts.items() if count and name != "docs/your_space.md"
    } == tested


def test_data_of_your_own(tmp_path):
    """The archive that docs/your_data.md writes is one that training and search open."""
    run(blocks_of("docs/your_data.md")[0], tmp_path)
    where = f"npz:{tmp_path / 'mine.npz'}"
    train, test = (sources.open_source(where, split) for split in ("train", "test"))
    assert (len(train), len(test), train.classes) == (256, 64, ("dark", "bright"))
    bright = [train[i]["image"].mean() > 127 for i in range(20)]
    assert bright == [train[i]["label"] == 1 for i in range(20)]
    assert inputs.load(where, 8, 64, 0).images.shape == (8, 64, 64, 3)


@pytest.mark.slow
def test_programs_of_the_pages_run(tmp_path):
    """With a model that was just trained and its assigner; docs/export.md's in the folder of its
    export.
    """
    workdir = tmp_path / "runs" / "revit_digits"
    run_command(command("train", "revit_digits", workdir, *SMALL, "--config.optimizer.epochs=2"))
    small = ["--config.data.batch_size=16", "--config.tla.epochs=2", "--config.tla.batch_size=16"]
    small += [
        "--config.labels.split=assign[:48]",
        "--config.labels.calibrate_split=calibrate[:32]",
        "--config.budget.max_drop=100",
    ]
    run_command(command("assign", "tla_digits", workdir, *small))
    run_command(command("export", "export", workdir))

    def numbers(lines):
        return [int(line.split()[0]) for line in lines]

    images = "import numpy as np\nimages = np.zeros((20, 32, 32, 3), np.uint8)\n"

    # a model of two epochs keeps no budget
    def loose(program):
        return re.sub(r"max_drop=[\d.]+", "max_drop=100.0", program)

    assert numbers(run(loose(blocks_of("docs/service.md")[0]), tmp_path)) == list(range(20))
    assert numbers(
        run(
            images
            + loose(blocks_of("docs/adaptive.md")[0]).replace("stream_of_uint8_images", "images"),
            tmp_path,
        )
    ) == list(range(20))
    printing = "\nprint(probabilities.shape)"
    assert (
        run(images + blocks_of("docs/export.md")[0] + printing, workdir / "export", PYTHONPATH="")[
            -1
        ]
        == "(20, 10)"
    )
    assert run(images + blocks_of("README.md")[1] + printing, tmp_path)[-1] == "(20, 10)"
    arch = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12}
    (tmp_path / "runs" / "vit_space").mkdir()
    (tmp_path / "runs" / "vit_space" / "best.json").write_text(json.dumps({"arch": arch}))
    assert run(blocks_of("README.md")[0], tmp_path) == ["(16, 16)"]


@pytest.mark.peers
def test_programs_that_read_weights(tmp_path):
    """docs/weights.md's two, with files of random weights by the names that they tell of."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    from weights.test_autoformer_supernet import published_shapes

    model = ViT(384, (6,) * 12, (1536,) * 12, head_dim=64)
    drawn = conformance.draw(model, jnp.zeros((1, 224, 224, 3)))
    state = timm.state_dict(OneLength(model, drawn, None))
    torch.save(
        {"model": {name: torch.from_numpy(array.copy()) for name, array in state.items()}},
        tmp_path / "deit_small_patch16_224.pth",
    )
    torch.save(
        {"model": {name: torch.zeros(shape) for name, shape in published_shapes().items()}},
        tmp_path / "supernet-tiny.pth",
    )
    for program in blocks_of("docs/weights.md"):
        counted = "\nimport jax\nprint(sum(leaf.size for leaf in jax.tree.leaves(variables)))"
        assert int(run(program + counted, tmp_path)[-1]) > 5_000_000


@pytest.mark.peers
def test_program_of_the_timm_export(tmp_path):
    """docs/export.md's second, in the folder of an export."""
    pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    model = ViT(12, (2, 2), (20, 20), 6, 3, patch_size=8, native_grid=(4, 4))
    trained = ModelSpec(model, ((4, 4),), 32, "fan_in")
    predictor = Predictor(trained, jax.jit(trained.draw)(jax.random.key(0)), ("a", "b", "c"))
    folder.write(tmp_path / "out", predictor, None, {}, {}, ("timm",))
    program = (
        "import torch\nimages = torch.zeros(2, 3, 32, "
        f"32)\n{blocks_of('docs/export.md')[1]}\nprint(tuple(logits.shape))"
    )
    assert run(program, tmp_path / "out", PYTHONPATH="")[-1] == "(2, 3)"
