"""The web page and the picture of a search."""

import html.parser
import json
import operator
import os
import re
import subprocess
import sys

import pytest
from PIL import Image

from vintk_jax.report import write_search_picture, write_search_report

EVIL = "</script></title></pre><script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(html.parser.HTMLParser):
    """Tags with their attributes, the text, and whether elements close in order."""

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.tags = []
        self.text = ""
        self.open = []
        self.feed(source)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def all(self, name):
        return [attrs[name] for _, attrs in self.tags if name in attrs]


@pytest.fixture
def write(tmp_path):
    def write(candidates, pareto=(), **changed):
        given = {
            "title": "A search",
            "space": "autoformer-tiny",
            "spectra": {"plain": [3.0, 1.0, 0.1], "fourier": [2.0, 1.5, 1.0]},
            "config": {"search": {"count": 30}},
            "seed": 17,
            "summary": {"device": "1 x H100"},
        }
        path = tmp_path / "search.html"
        write_search_report(
            path, candidates=candidates, pareto=list(pareto), **{**given, **changed}
        )
        return Page(path.read_text(encoding="utf-8"))

    return write


def size_of(path):
    with Image.open(path) as picture:
        return picture.size


def ringed(page):
    return {
        int(found[1])
        for name in page.all("id")
        if (found := re.fullmatch(r"scores-pareto-(\d+)", name))
    }


def test_says_what_was_found(write, candidates):
    page = write(candidates, config={"search": {"limits": (1, 2)}})
    best = max(candidates, key=operator.attrgetter("score"))
    for said in (
        "A search",
        "autoformer-tiny",
        "29.0000 ± 0.7071",
        "1 x H100",
        "Seed 17",
        "limits:\n  - 1",
        f"trial {best.number}",
    ):
        assert said in page.text
    (code,) = re.findall(r'\{\n  "embed_dim.*?\n\}', page.text, re.DOTALL)
    assert json.loads(code) == best.arch


def test_loads_nothing_from_anywhere(write, candidates):
    page = write(candidates)
    references = [
        value
        for name in ("src", "href", "xlink:href", "srcset", "data", "action")
        for value in page.all(name)
    ]
    assert references
    assert all(value.startswith(("#", "data:image/png")) for value in references)
    assert not re.search(r"@import|url\((?!#)", page.source)
    assert not {"script", "link", "iframe", "object"} & {tag for tag, _ in page.tags}
    assert "http" not in re.sub(r'xmlns(:\w+)?="[^"]*"|http-equiv', "", page.source)


@pytest.mark.parametrize("pareto", [[], [3], [3, 11, 29]])
def test_rings_the_pareto_points_and_no_others(write, candidates, pareto):
    assert ringed(write(candidates, pareto)) == set(pareto)


def test_ids_are_unique_and_references_lead_somewhere(write, candidates):
    page = write(candidates, [1, 2])
    ids = page.all("id")
    assert len(ids) == len(set(ids))
    referred = [
        value[1:] for value in page.all("xlink:href") if value.startswith("#")
    ] + re.findall(r"url\(#([^)]*)\)", page.source)
    assert referred
    assert set(referred) <= set(ids)


def test_figures_have_names_and_follow_the_theme(write, candidates):
    page = write(candidates)
    svgs = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(svgs) == 3
    assert all(svg["role"] == "img" and svg["aria-label"] and "width" not in svg for svg in svgs)
    assert page.source.count("var(--ink)") > 10


def test_hostile_words_stay_words(write, candidate):
    arch = {"op": EVIL, EVIL: 1, "ops": [EVIL, "b", "c"]}
    page = write(
        [candidate(0, 1.0, arch=arch)],
        [0],
        title=EVIL,
        space=EVIL,
        config={EVIL: [EVIL]},
        summary={EVIL: EVIL},
        spectra={EVIL: [1.0, 0.5]},
    )
    assert not {"script", "img"} & {tag for tag, _ in page.tags}
    assert not any(name.startswith("on") for _, attrs in page.tags for name in attrs)
    assert page.text.count("alert(1)") >= 8


@pytest.mark.parametrize(
    "spectra",
    [
        {},
        {"plain": [1.0, 0.0, -1e-9]},
        {"plain": [0.0, 0.0]},
        {"plain": [-1.0]},
        {"$a_b$": [1.0] * 300, "b": [1.0]},
    ],
)
def test_any_spectrum(write, candidate, spectra):
    page = write([candidate(0, 1.0, scores=[1.0])], [0], spectra=spectra)
    assert ("eigenvalue / trace" in page.text) == bool(spectra)
    assert "1.0000" in page.text
    assert "±" not in page.text


@pytest.mark.parametrize(
    "arch",
    [
        {},
        {"width": 3},
        {
            "stages": [{"depth": 2, "op": "conv"}, {"depth": 6, "op": "attention"}],
            "stem": {"kernel": 7},
        },
        {"ragged": [[1, 2], [3]], "flags": [True, None, "x"], "shifts": [-1, 0, 1]},
        {"long": list(range(200)), "empty": [], "zeros": [0, 0]},
    ],
)
def test_any_architecture(write, candidate, arch, tmp_path):
    one = [candidate(0, 1.0, arch=arch)]
    page = write(one, [0])
    assert all(name.split(".")[0] in page.text for name in arch)
    picture = tmp_path / "search.png"
    write_search_picture(picture, candidates=one, pareto=[0], spectra={}, arch=arch, title="one")
    assert size_of(picture) == (1600, 700)


def test_latency_where_it_was_measured(write, candidate):
    assert "latency" not in write([candidate(0, 1.0)]).text
    assert "3.14 ms" in write([candidate(0, 1.0, latency_ms=3.14159), candidate(1, 0.0)]).text


def test_scores_that_are_no_numbers(write, candidate):
    page = write([candidate(0, float("nan")), candidate(1, 1.0), candidate(2, float("-inf"))], [1])
    assert "trial 1" in page.text
    assert ringed(page) == {1}


def test_many_candidates_stay_small(write, candidate):
    page = write([candidate(number, float(number % 97)) for number in range(2000)], [0])
    assert len(page.source) < 600_000
    assert any(value.startswith("data:image/png") for value in page.all("xlink:href"))


def test_no_candidates_is_an_error(write):
    with pytest.raises(ValueError, match="at least one candidate"):
        write([])


def test_replaces_the_older_file_whole_or_not_at_all(write, candidates, tmp_path, monkeypatch):
    write(candidates, title="the first")

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        write(candidates, title="the second")
    monkeypatch.undo()
    assert "the first" in (tmp_path / "search.html").read_text()
    assert "the third" in write(candidates, title="the third").text
    assert os.listdir(tmp_path) == ["search.html"]


def test_picture_makes_its_folder(candidates, tmp_path):
    path = tmp_path / "new" / "search.png"
    write_search_picture(
        path,
        candidates=candidates,
        pareto=[1],
        spectra={"plain": [1.0, 0.5]},
        arch=candidates[0].arch,
        title="A search",
    )
    assert size_of(path) == (1600, 700)


def test_import_brings_neither_jax_nor_matplotlib():
    code = (
        "import sys, vintk_jax.report; print(sorted({'jax', 'matplotlib', 'jinja2'} & "
        "set(sys.modules)))"
    )
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.strip()
        == "[]"
    )
