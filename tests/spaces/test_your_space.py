"""docs/your_space.md: its example is the file it names, every block of it runs, and the space is
what it says.
"""

import contextlib
import importlib
import io
import json
import re
import shlex
import sys
from pathlib import Path

import my_space
import numpy as np
import pytest

from vintk_jax.spaces import conformance, supernet_conformance

pytestmark = pytest.mark.slow  # every command of the guide is run

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "your_space.md").read_text()
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
QUICK = {  # on top of what the guide's commands say
    "search": [
        "--config.search.num_candidates=6",
        "--config.inputs.num_images=4",
        "--config.inputs.image_size=32",
        "--config.ntk.num_classes=5",
    ],
    "rank": [
        "--config.inputs.num_images=4",
        "--config.inputs.image_size=32",
        "--config.ntk.num_classes=5",
    ],
    "train": [
        "--config.data.train_split=train[:64]",
        "--config.data.test_split=test[:32]",
        "--config.data.batch_size=32",
        "--config.data.threads=0",
        "--config.optimizer.steps=2",
    ],
}


def run_command(line, folder):
    """One line of a shell block, in this process."""
    python, flag, module, *arguments = shlex.split(line)
    assert (python, flag) == ("python", "-m")
    command = module.rpartition(".")[2]
    arguments = [str(ROOT / word) if word.startswith("configs/") else word for word in arguments]
    importlib.import_module(module).main([command, *arguments, *QUICK.get(command, [])])


def run_python(source, scope, folder):
    """One Python block; what it prints has to be what its comments say."""
    name = re.match(r"# (\w+\.py)\n", source)
    if name:
        (folder / name[1]).write_text(source)
        return
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "docs/your_space.md", "exec"), scope)
    assert printed.getvalue().splitlines() == re.findall(
        r"^ *print\(.*\)(?:  |\n *)# (.*)$", source, re.MULTILINE
    )


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A folder in which somebody has done all that the guide says, top to bottom."""
    folder = tmp_path_factory.mktemp("guide")
    scope = {"__name__": "guide"}
    with contextlib.chdir(folder), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        for language, source in BLOCKS[1:]:  # the first is the example
            if language == "python":
                run_python(source, scope, folder)
            else:
                for line in source.splitlines():
                    assert (
                        line == "export PYTHONPATH=docs/examples"
                        or run_command(line, folder) is None
                    )
        sys.modules.pop("my_score", None)
    return folder


def test_the_guide_shows_the_file():
    """Verbatim, and in under 90 lines of at most 100 characters."""
    language, source = BLOCKS[0]
    assert language == "python"
    assert source == (ROOT / "docs" / "examples" / "my_space.py").read_text()
    assert len(source.splitlines()) < 90
    assert max(map(len, source.splitlines())) <= 100
    assert f"in {len(source.splitlines())} lines" in GUIDE
    assert {language for language, _ in BLOCKS} == {"python", "sh"}


def test_every_block_runs(followed):
    """And leaves what its commands are for: a best architecture that reads back, a ranking, a
    trained model's predictions.
    """
    best = json.loads((followed / "runs/mixed/best.json").read_text())
    arch = my_space.SPACE.from_json(best["arch"])
    assert my_space.SPACE.to_json(arch) == best["arch"]
    assert best["space"] == "my_space:SPACE"
    assert my_space.SPACE.cost(arch) == (best["params"], best["flops"])
    candidates = [
        json.loads(line)
        for line in (followed / "runs/mixed/candidates.jsonl").read_text().splitlines()
    ]
    assert len(candidates) == 6
    assert len({c["score"] for c in candidates}) == 6
    assert best["score"] == max(c["score"] for c in candidates)
    ranked = json.loads((followed / "runs/mixed_rank/rank.json").read_text())
    assert ranked["num_architectures"] == 6
    assert {"vintk", "params", "flops"} <= set(ranked["proxies"])
    spread = json.loads((followed / "runs/mixed_spread/best.json").read_text())
    assert 1 < spread["score"] <= 4  # of four eigenvalues
    predictions = (followed / "runs/mixed_digits/predictions.jsonl").read_text().splitlines()
    assert json.loads(predictions[0])["tokens"] == "all"


def formula(arch, image_size, num_classes):
    """Parameters and multiply-adds by hand."""
    e = arch.embed_dim
    tokens = (image_size // 16) ** 2
    width = 4 * 32
    params = (16 * 16 * 3 + 1) * e + tokens * e + 2 * e + (e + 1) * num_classes
    flops = tokens * 16 * 16 * 3 * e + e * num_classes
    for mixer, ratio in zip(arch.mixer, arch.mlp_ratio, strict=True):
        params += 4 * e + 2 * ratio * e * e + ratio * e + e
        flops += tokens * 2 * ratio * e * e
        if mixer == "attention":
            params += (e + 1) * 3 * width + (width + 1) * e
            flops += tokens * 4 * e * width + 2 * tokens**2 * width
        if mixer == "convolution":
            params += (9 + 1) * e
            flops += tokens * 9 * e
    return params, flops


def test_costs_are_those_by_hand():
    """Of 200 samples; the check, which the guide runs, holds them against the initialised
    models.
    """
    rng = np.random.default_rng(0)
    for _ in range(200):
        arch = my_space.SPACE.sample(rng)
        assert my_space.SPACE.cost(arch) == formula(arch, 224, 1000)
    assert my_space.SPACE.cost(arch, 32, 10) == formula(arch, 32, 10)


@pytest.fixture
def small(monkeypatch):
    """The example's space with fewer options, so that it compiles soon."""
    monkeypatch.setattr(my_space, "WIDTHS", (16, 24))
    monkeypatch.setattr(my_space, "DEPTHS", (1, 2))
    return my_space.MixedSpace("small")


def test_the_supernet_in_float32(small):
    """Under the masks of an architecture with each mixer dead or alive: its own model, and the
    Jacobian's kernel.
    """
    options = [
        ("convolution", "attention", 2, 4),
        ("pooling", "pooling", 2, 2),
    ]
    names = ("mixer_0", "mixer_1", "mlp_ratio_0", "mlp_ratio_1")
    archs = [
        small.decode({"embed_dim": w, "depth": d, **dict(zip(names, o))})
        for w, d, o in zip((16, 24), (2, 1), options)
    ]
    conformance.masks(small, archs)
    supernet_conformance.supernet(small, archs, 32)
    supernet_conformance.kernel(small, archs[:1], 32, dtype="float32")
    supernet_conformance.kernel(small, archs[:1], 32, remat=True)
