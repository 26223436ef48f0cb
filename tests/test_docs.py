"""What README and docs say to type: commands that exist with fields that exist, links that lead somewhere, and programs that run."""

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from training.commands import SMALL, command, finish, start

from vintk_jax import config as configs

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
EXAMPLES = {"my_space", "my_scores"}  # of docs/your_space.md, which has a test of its own


def commands_of(page):
    """The words of every command of ours in an indented block or a block of code."""
    text = re.sub(r"\\\n\s*", " ", page.read_text())
    found = re.findall(r"^(?: {4}|\$ )?(python -m (?:vintk_jax|benchmarks)\.\w+.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in found]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_commands_and_their_fields_exist(page, monkeypatch):
    """Each is read as it would be when typed; nothing is run."""
    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(ROOT / "docs" / "examples")
    for words in commands_of(page):
        module, arguments = words[2], words[3:]
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
    """The Python blocks of a page, as one program."""
    return "\n".join(re.findall(r"^```python\n(.*?)^```$", (ROOT / "docs" / name).read_text(), re.MULTILINE | re.DOTALL))


@pytest.mark.slow
def test_programs_of_the_pages_run(tmp_path):
    """docs/service.md with a model that was just trained, docs/export.md in the folder of its export."""
    workdir = tmp_path / "runs" / "revit_digits"
    finish(start(command("train", "revit_digits", workdir, *SMALL, "--config.optimizer.epochs=2")))
    small = ["--config.data.batch_size=16", "--config.tla.epochs=2", "--config.tla.batch_size=16"]
    small += ["--config.labels.split=assign[:48]", "--config.labels.calibrate_split=calibrate[:32]", "--config.budget.max_drop=100"]
    finish(start(command("assign", "tla_digits", workdir, *small)))
    finish(start(command("export", "export", workdir)))
    run = lambda program, folder, **more: subprocess.run(
        [sys.executable, "-c", program], cwd=folder, env={**os.environ, **more}, capture_output=True, text=True, timeout=300
    )
    program = blocks_of("service.md").replace("max_drop=2.0", "max_drop=100.0")  # a model of two epochs keeps no budget
    served = run(program, tmp_path, PYTHONPATH=str(ROOT))
    assert served.returncode == 0, served.stderr
    lines = served.stdout.splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(20))
    images = "import numpy as np\nimages = np.zeros((3, 32, 32, 3), np.uint8)\n"
    exported = run(images + blocks_of("export.md") + "\nprint(probabilities.shape)", workdir / "export")
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout.splitlines()[-1] == "(3, 10)"
