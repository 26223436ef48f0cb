"""Pages are for all readers: light and wide, dark and narrow (`accessibility`)."""

import re
from pathlib import Path

import numpy as np
import pytest
from accessibility import VIEWS, check, seen_by_axe

from vintk_jax.report.adapt_page import write_adapt_page
from vintk_jax.report.adaptive_page import write_adaptive_page
from vintk_jax.report.search_page import write_search_report

METHOD = {"images_per_second": 100.0, "flops_per_image": 1e6, "budget": None, "mix": {"1": 1.0}}
METHODS = {
    "dataset": "mine",
    "device": "cpu",
    "batch_size": 64,
    "images": 40,
    "methods": [
        {**METHOD, "name": "fixed-4", "accuracy": 0.9},
        {**METHOD, "name": "fixed-1", "accuracy": 0.8, "images_per_second": 300.0},
        {**METHOD, "name": "tla", "accuracy": 0.89, "images_per_second": 200.0, "budget": 0.5},
    ],
}
AT_EQUAL_SPEED = [
    {"budget": 0.5, "speed": 2.0, "gain": -1.0, "tla": 0.89, "random": 0.85, "cascade": None}
]
RESULT = {
    "source": "folder:/photos/<mine>",
    "images": 40,
    "classes": 2,
    "device": "cpu",
    "found": {
        "by": "search",
        "best": {
            "space": "vit-mini",
            "arch": {"embed_dim": 64, "depth": 2, "num_heads": [2, 4]},
            "score": 5.0,
            "score_name": "vintk",
        },
        "scored": 20,
        "median_score": 4.0,
        "limit_m": 10.4,
    },
    "params": 140_000,
    "lengths": [
        {"tokens": "4", "accuracy": 0.9, "low": 0.8, "high": 0.95, "multiply_adds": 4_000_000},
        {"tokens": "1", "accuracy": 0.8, "low": 0.7, "high": 0.9, "multiply_adds": 1_000_000},
    ],
    "adaptive": {"accuracy": 0.89, "low": 0.79, "high": 0.95},
    "budget": {"max_drop": 0.5, "confidence": 0.9},
    "points": {"low": -2.5, "high": 0.5},
    "thresholds": {"images": 60, "points": -0.3},
    "at_equal_speed": AT_EQUAL_SPEED,
    "by_class": [
        {
            "name": name,
            "images": 20,
            "longest": 0.9,
            "adaptive": 0.85,
            "low": 0.6,
            "high": 0.95,
            "lost": lost,
            "gained": 0,
        }
        for name, lost in (("cat <script>", 1), ("dog", 0))
    ],
    "planned_s": {"search": 20.0, "train": 60.0},
    "taken_s": {"search": 22.0},
    "commands": {"infer": "vintk infer", "export": "vintk export", "train": "vintk train"},
}


@pytest.fixture
def adapt_page(tmp_path):
    """The page of a made-up run, with images of noise."""
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), np.uint8)
    tile = {
        "image": image,
        "is": "cat <script>",
        "given": "4",
        "said": [("1", "dog", False), ("4", "cat <script>", True)],
    }
    wrong = {**tile, "said": [("1", "dog", False), ("4", "dog", False)]}
    write_adapt_page(
        tmp_path / "adapt.html",
        result=RESULT,
        methods=METHODS,
        reasons=[("images a side", "32 px", "half of the images have 32 px")],
        tiles={"easy": [tile] * 3, "needy": [], "hard": [wrong]},
        workdir=Path("runs/mine"),
        model=Path("runs/mine/model"),
        config={"time_h": 1.0},
    )
    return tmp_path / "adapt.html"


def test_what_the_page_of_a_run_says(adapt_page):
    """Every result is there, names are text and no markup, and nothing is fetched."""
    page = adapt_page.read_text()
    for said in (
        "89.0%",
        "2.00 x",
        "-1.00 points",
        "80.0% to 95.0%",
        "-2.50 to +0.50",
        "1 of 2 classes lose",
    ):
        assert said in page
    assert "embed_dim=64" in page
    assert "None of the test images." in page
    assert "1 tokens say dog (wrong), 4 tokens say cat &lt;script&gt;." in page
    assert "<script" not in page
    assert not re.findall(r'(?:src|href)="(?!#|data:)[^"]*', page)


def test_axe_finds_faults(adapt_page, tmp_path):
    """Pictures without alternatives, grey on grey, and a table that makes the page wider."""
    text = re.sub(r'alt="[^"]*"', "", adapt_page.read_text())
    text = text.replace("--muted: #5d6875", "--muted: #c9c9c9").replace("overflow-x: auto", "")
    adapt_page.write_text(text)
    seen = seen_by_axe(adapt_page, tmp_path, "light and wide")
    assert {"image-alt", "color-contrast"} <= {one["id"] for one in seen["violations"]}
    assert seen_by_axe(adapt_page, tmp_path, "dark and narrow")["wider"] > 0


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_of_a_run(adapt_page, tmp_path, view):
    """With everything that it may hold."""
    check(adapt_page, tmp_path, view)


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_of_a_search(candidates, tmp_path, view):
    """With figures, tables and details."""
    page = tmp_path / "search.html"
    write_search_report(
        page,
        title="Search of autoformer-tiny",
        space="autoformer-tiny",
        candidates=candidates,
        pareto=[1, 2],
        spectra={"plain": [3.0, 2.0, 1.0]},
        config={"seed": 0},
        seed=0,
        summary={"This run": "1 s"},
    )
    check(page, tmp_path, view)


@pytest.fixture
def adaptive_page(tmp_path):
    """The page of an adaptive inference in which nobody was given the longest of three lengths."""
    rng = np.random.default_rng(0)
    page = tmp_path / "adaptive.html"
    write_adaptive_page(
        page,
        result={**METHODS, "at_equal_speed": AT_EQUAL_SPEED},
        images=rng.integers(0, 256, (8, 32, 32, 3), np.uint8),
        lengths=np.arange(8) % 2,
        predicted=np.zeros(8, int),
        labels=np.arange(8) % 3 // 2,
        names=("1", "4", "16"),
        classes=("cat", "dog"),
        config={"seed": 0},
    )
    return page


def test_adaptive_inference_begins_with_advice(adaptive_page):
    """Then the picture, then images by length; no length that nobody was given."""
    text = adaptive_page.read_text()
    places = [text.index(words) for words in ("Adapting pays", "<figure", "1 tokens:", "4 tokens:")]
    assert places == sorted(places)
    assert "16 tokens:" not in text


@pytest.mark.parametrize("view", VIEWS)
def test_the_page_of_adaptive_inference(adaptive_page, tmp_path, view):
    """With images."""
    check(adaptive_page, tmp_path, view)
