"""The table of the best, and the words it is made of."""

import dataclasses
import io
import math

import pytest
from rich.console import Console

from vintk_jax.report import best_table
from vintk_jax.report.describe import best_first, human_count, human_score, summarise


def rendered(table, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    return console.file.getvalue()


def test_holds_the_ten_best_in_order(candidates):
    table = best_table(candidates)
    assert table.row_count == 10
    assert [cell.split()[0] for cell in table.columns[1].cells] == [
        f"{score:.4f}" for score in range(29, 19, -1)
    ]
    assert list(table.columns[0].cells) == [str(rank) for rank in range(1, 11)]


def test_fewer_candidates_than_rows(candidates):
    assert best_table(candidates[:3]).row_count == 3
    assert best_table(candidates, count=4).row_count == 4
    assert best_table([]).row_count == 0


def test_spread_only_over_several_seeds(candidate):
    spread, alone = (
        best_table([candidate(0, 2.0), candidate(1, 1.0, scores=[1.0])]).columns[1].cells
    )
    assert spread == "2.0000 ± 0.7071"
    assert alone == "1.0000"


def test_scores_that_are_no_numbers_come_last(candidate):
    order = best_first(
        [candidate(0, math.nan), candidate(1, -5.0), candidate(2, -math.inf), candidate(3, 1.0)]
    )
    assert [c.number for c in order][:2] == [3, 1]


def test_no_line_is_wider_than_the_terminal(candidates):
    measured = [dataclasses.replace(candidate, latency_ms=3.21) for candidate in candidates]
    lines = rendered(best_table(measured)).splitlines()
    assert max(map(len, lines)) <= 80
    assert not any("…" in line for line in lines)


def test_latency_is_a_column_where_it_was_measured(candidate):
    assert "latency" not in rendered(best_table([candidate(0, 1.0)]))
    said = rendered(best_table([candidate(0, 1.0, latency_ms=3.14159), candidate(1, 0.0)]))
    assert "latency" in said
    assert "3.14" in said


def test_architecture_with_brackets_is_no_markup(candidate):
    assert "op=[red]x[/red]" in rendered(
        best_table([candidate(0, 1.0, arch={"op": "[red]x[/red]"})])
    )


@pytest.mark.parametrize(
    ("arch", "pieces"),
    [
        (
            {"embed_dim": 192, "num_heads": [3, 3, 4, 3, 3, 4]},
            ["embed_dim=192", "num_heads=334334"],
        ),
        ({"mlp_ratio": [4, 3.5, 4.0, 4, 3.5, 4]}, ["mlp_ratio=babbab (a=3.5,b=4)"]),
        ({"heads": [10] * 14}, ["heads=10x14"]),
        ({"dims": [64, 128, 320, 320]}, ["dims=[64,128,320x2]"]),
        (
            {"stem": {"width": 32, "act": None}, "norm": True},
            ["stem.width=32", "stem.act=null", "norm=true"],
        ),
        (
            {"blocks": [{"op": "conv", "k": 3}, {"op": "attn", "k": 1}]},
            ["blocks.op=[conv,attn]", "blocks.k=31"],
        ),
        ({"empty": [], "text": "a\nb\x1b[0m"}, ["empty=[]", "text=a\\nb\\u001b[0m"]),
    ],
)
def test_any_architecture_is_summarised(arch, pieces):
    assert summarise(arch) == pieces


def test_long_fields_are_cut():
    (piece,) = summarise({"numbers": list(range(100))})
    assert len(piece) == 48
    assert piece.endswith("…")


def test_numbers_in_words():
    assert [human_count(n) for n in (0, 812, 5_912_345, 59_123_450, 1_300_000_000)] == [
        "0",
        "812",
        "5.91 M",
        "59.1 M",
        "1.30 G",
    ]
    assert [human_score(x) for x in (0.0, -2.71828, 1.5e-7)] == ["0.0000", "-2.7183", "1.5000e-07"]
