"""The spectrum command as its users run it."""

import json
import sys

import pytest
from accessibility import VIEWS, check

from vintk_jax.errors import UserError
from vintk_jax.spectrum import main

SMALL = [
    "--config.num_draws=1",
    "--config.model.embed_dim=16",
    "--config.model.depth=1",
    "--config.model.num_heads=2",
    "--config.signals.num_images=12",
    "--config.signals.image_size=16",
    "--config.signals.cycles=(1, 4)",
    "--config.signals.band_edges=(0.5, 4.0, 8.0)",
    "--config.fourier.num_features=8",
    "--config.kernel.top=4",
    "--config.train.steps=5",
]


def spectrum(*overrides):
    main([sys.argv[0], "--config", "configs/spectrum.py", *overrides])


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The workdir of a small run."""
    workdir = tmp_path_factory.mktemp("spectrum")
    spectrum(*SMALL, "--workdir", str(workdir))
    return workdir


def test_writes_numbers_a_picture_and_a_page(written, capsys):
    """All of a small run; the same command again gives the same numbers; nothing is fetched by the
    page.
    """
    result = json.loads((written / "spectrum.json").read_text())
    assert set(result["experiments"]) == {"target", "image"}
    for experiment in result["experiments"].values():
        for view in ("plain", "fourier"):
            assert len(experiment[view]["frequencies"]) == 2
            for numbers in experiment[view]["frequencies"].values():
                assert 0 <= numbers["share_in_top"] <= 1
                assert numbers["time_to_halve"] > 0
            assert len(experiment[view]["curve"]) == 2
            assert len(experiment[view]["curve"][0]) == 5
    assert (written / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    page = (written / "spectrum.html").read_text()
    assert "http" not in page.replace("http-equiv", "")
    assert "1 a round" in page
    spectrum(*SMALL, "--workdir", str(written))
    assert "Frequency of the target" in capsys.readouterr().out
    assert json.loads((written / "spectrum.json").read_text()) == result


@pytest.mark.parametrize("view", VIEWS)
def test_its_page_is_for_all_readers(written, tmp_path, view):
    """With curves."""
    check(written / "spectrum.html", tmp_path, view)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("--config.num_draws=0", "num_draws"),
        ("--config.model.num_heads=5", "multiple of model.num_heads=5"),
        ("--config.model.patch_size=5", "multiple of model.patch_size=5"),
        ("--config.kernel.top=12", "below signals.num_images=12"),
        ("--config.signals.cycles=(1, 6)", "signals.cycles"),
        ("--config.fourier.mode=pixle", "pixle"),
        ("--config.model.depht=2", "Did you mean 'model.depth'"),
    ],
)
def test_mistakes_end_in_one_message(tmp_path, override, words):
    with pytest.raises(UserError, match=r"(?s).*" + words.replace("(", r"\(")):
        spectrum(*SMALL, override, "--workdir", str(tmp_path / "w"))
