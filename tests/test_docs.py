"""README and docs: commands and their fields exist, links lead to files, programs run, and every
page has its place on the site.
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
import yaml
from training.commands import SMALL
from training.commands import run as run_command

from vintk_jax import command_line
from vintk_jax.data import inputs, sources
from vintk_jax.exporting import folder, timm
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.models.vit import ViT
from vintk_jax.spaces import conformance
from vintk_jax.tasks.model_spec import ModelSpec

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
# Options that make the tutorial's commands take seconds.
SMALL_SEARCH = [
    "--config.search.num_candidates=6",
    "--config.inputs.num_images=4",
    "--config.inputs.image_size=32",
    "--config.ntk.num_classes=5",
]
SMALL_TRAINING = [*SMALL, "--config.optimizer.epochs=2"]
SMALL_ASSIGNER = [
    "--config.data.batch_size=16",
    "--config.tla.epochs=2",
    "--config.tla.batch_size=16",
    "--config.labels.split=assign[:48]",
    "--config.labels.calibrate_split=calibrate[:32]",
    "--config.budget.max_drop=100",  # a model of two epochs keeps no smaller budget
]
SMALL_TUTORIAL = {
    "configs/vit_space.py": SMALL_SEARCH,
    "configs/revit_digits.py": SMALL_TRAINING,
    "configs/tla_digits.py": SMALL_ASSIGNER,
}


def commands_of(page):
    """The words of every command of ours in an indented block or a block of code."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    lines = re.findall(
        r"^(?: {4}|\$ )?(python -m (?:vintk_jax|benchmarks)\.\w+.*)$", text, re.MULTILINE
    )
    return [shlex.split(line, comments=True) for line in lines]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_their_fields_exist(page, monkeypatch):
    """Each is read as it would be when typed; nothing is run."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    for words in commands_of(page):
        module = words[2]
        arguments = words[3:]
        assert importlib.util.find_spec(module), words
        has_config = any(word.startswith("--config") for word in arguments)
        if not module.startswith("vintk_jax.") or not has_config:
            continue
        name = module.split(".")[1]
        command_line.parse([name, *arguments], command=name, about="", default_config="")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    """Files of ours that a page links to are there."""
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


def pages_in(navigation):
    """The files that an entry of mkdocs.yml's nav names."""
    if isinstance(navigation, str):
        return [navigation]
    if isinstance(navigation, dict):
        navigation = navigation.values()
    return [page for entry in navigation for page in pages_in(entry)]


def test_every_page_is_in_the_navigation():
    """Once; and every package has a page of reference."""
    docs = ROOT / "docs"
    navigation = yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"]
    files = [str(page.relative_to(docs)) for page in docs.rglob("*.md")]
    assert sorted(pages_in(navigation)) == sorted(files)
    packages = {path.parent.name for path in (ROOT / "vintk_jax").glob("*/__init__.py")}
    documented = {page.stem for page in (docs / "reference").glob("*.md")}
    assert packages - {"defaults"} == documented  # --help shows the defaults


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_lines_are_of_at_most_100_characters(page):
    """But for tables, code that is indented (commands) and addresses."""
    long = [line for line in page.read_text().splitlines() if len(line) > 100]
    assert not [line for line in long if not line.startswith(("|", "    ", "python -m"))]


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
        "docs/adapt.md": 2,
        "docs/adaptive.md": 1,
        "docs/export.md": 3,
        "docs/service.md": 2,
        "docs/tutorial.md": 2,
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


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """A folder in which somebody has typed every command of the tutorial, on small settings."""
    done = tmp_path_factory.mktemp("tutorial")
    for _, _, module, *arguments in commands_of(ROOT / "docs" / "tutorial.md"):
        words = [str(done / word) if word.startswith("runs/") else word for word in arguments]
        options = SMALL_TUTORIAL.get(words[words.index("--config") + 1], [])
        run_command([sys.executable, "-m", module, *words, *options])
    return done


@pytest.mark.slow
def test_the_tutorial(tutorial):
    """Its commands leave what its programs read."""
    arch, score = run(blocks_of("docs/tutorial.md")[0], tutorial)
    assert "embed_dim" in arch
    assert len(score.split()) == 3
    assert run(blocks_of("docs/tutorial.md")[1], tutorial) == ["(20, 10)"]
    assert (tutorial / "runs/first/report.html").exists()
    assert (tutorial / "runs/revit_digits/predictions.jsonl").exists()
    assert (tutorial / "runs/revit_digits/adaptive.html").exists()


@pytest.mark.slow
def test_programs_of_the_pages_run(tutorial):
    """In the tutorial's folder; docs/export.md's in the folder of its export."""
    images = "import numpy as np\nimages = np.zeros((20, 32, 32, 3), np.uint8)\n"
    shape = "\nprint(probabilities.shape)"

    def loose(program):
        """With a budget that a model of two epochs keeps."""
        return re.sub(r"max_drop=[\d.]+", "max_drop=100.0", program)

    def numbers(lines):
        return [int(line.split()[0]) for line in lines]

    assert numbers(run(loose(blocks_of("docs/service.md")[1]), tutorial)) == list(range(20))
    adaptive = loose(blocks_of("docs/adaptive.md")[0]).replace("stream_of_uint8_images", "images")
    assert numbers(run(images + adaptive, tutorial)) == list(range(20))
    export = images + blocks_of("docs/export.md")[0] + shape
    folder_of_export = tutorial / "runs" / "revit_digits" / "export"
    assert run(export, folder_of_export, PYTHONPATH="")[-1] == "(20, 10)"
    words = ["--config", "configs/export.py"]
    words += ["--workdir", str(tutorial / "runs" / "revit_digits")]
    words += ["--config.formats=('huggingface',)", f"--config.folder={tutorial / 'hub'}"]
    words += ["--config.budget.max_drop=100"]
    run_command([sys.executable, "-m", "vintk_jax.export", *words])
    hub = blocks_of("docs/export.md")[1].replace("runs/revit_digits/export", "hub")
    assert run(images + hub + shape, tutorial) == ["(20, 10)"]
    assert run(images + blocks_of("README.md")[1] + shape, tutorial)[-1] == "(20, 10)"
    arch = {"embed_dim": 192, "depth": 12, "num_heads": [3] * 12, "mlp_ratio": [3.5] * 12}
    (tutorial / "runs" / "vit_space").mkdir()
    (tutorial / "runs" / "vit_space" / "best.json").write_text(json.dumps({"arch": arch}))
    assert run(blocks_of("README.md")[0], tutorial) == ["(16, 16)"]


@pytest.mark.slow
def test_from_a_folder_to_predictions(tmp_path):
    """docs/adapt.md, with sizes that take seconds: its images, the plan, the run, the other
    program.
    """
    first, second = blocks_of("docs/adapt.md")
    run(first, tmp_path)
    assert len(list((tmp_path / "digits").glob("*/*.png"))) == 1797
    small = ["--config.plan.candidates=4", "--config.plan.epochs=1", "--config.plan.lengths=(4,2)"]
    small += ["--config.plan.max_flops_m=4", "--config.budget.max_drop=50"]
    page = tmp_path / "runs/mine/adapt.html"
    for _, *words in commands_of(ROOT / "docs" / "adapt.md")[:2]:  # the plan, the run
        assert not page.exists()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
        command = [sys.executable, *words, *small]
        subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=300)
    assert page.exists()
    lines = run(second, tmp_path)
    assert len(lines) == 20
    assert all(line.endswith(" tokens") for line in lines)


@pytest.mark.peers
def test_programs_that_read_weights(tmp_path):
    """docs/weights.md's two, with files of random weights by the names that they tell of."""
    torch = pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    from weights.test_autoformer_supernet import published_shapes

    model = ViT(384, (6,) * 12, (1536,) * 12, head_dim=64)
    drawn = conformance.draw(model, jnp.zeros((1, 224, 224, 3)))
    state = timm.state_dict(OneLength(model, drawn, None, (0, 0, 3)))
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
    """docs/export.md's third, in the folder of an export."""
    pytest.importorskip("torch", reason="needs PyTorch: make test-full installs it")
    model = ViT(12, (2, 2), (20, 20), 6, 3, patch_size=8, native_grid=(4, 4))
    trained = ModelSpec(model, ((4, 4),), 32, "fan_in")
    predictor = Predictor(trained, jax.jit(trained.draw)(jax.random.key(0)), ("a", "b", "c"))
    folder.write(tmp_path / "out", predictor, None, {}, {}, ("timm",))
    program = (
        "import torch\nimages = torch.zeros(2, 3, 32, "
        f"32)\n{blocks_of('docs/export.md')[2]}\nprint(tuple(logits.shape))"
    )
    assert run(program, tmp_path / "out", PYTHONPATH="")[-1] == "(2, 3)"
