"""How well proxies rank, as tables for the terminal."""

from collections.abc import Mapping
from typing import Any

import rich.box
from rich.table import Table


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def rank_tables(result: Mapping[str, Any]) -> list[Table]:
    """One table for each accuracy, the best Kendall tau first; `result` is what rank.json holds."""
    names = list(dict.fromkeys(name for proxy in result["proxies"].values() for name in proxy["accuracy"]))
    return [_of(result, name) for name in names]


def _of(result: Mapping[str, Any], accuracy: str) -> Table:
    table = Table(title=f"{result['table']}: {accuracy}", title_justify="left", box=rich.box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("proxy", no_wrap=True)
    for heading in ("tau", "95%", "rho", "tau, same width", "tau, top fifth", "first choice", "rank", "s/arch"):
        table.add_column(heading, justify="right")
    ordered = sorted(result["proxies"].items(), key=lambda item: -_tau(item[1]["accuracy"][accuracy]))
    for name, proxy in ordered:
        found = proxy["accuracy"][accuracy]
        first = found.get("first_choice")
        table.add_row(
            name,
            _number(found["kendall_tau"]),
            " ".join(_number(value) for value in found["ci95"]),
            _number(found["spearman_rho"]),
            _number(found.get("tau_equal_width")),
            _number(found.get("tau_top_fifth")),
            f"{first['accuracy']:.2f}" if first else "-",
            f"{first['rank']}/{found['num_architectures']}" if first else "-",
            f"{proxy['seconds_per_architecture']:.2g}",
        )
    return table


def _tau(found: Mapping[str, Any]) -> float:
    return -2.0 if found["kendall_tau"] is None else found["kendall_tau"]
