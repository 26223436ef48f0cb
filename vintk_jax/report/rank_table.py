"""How well proxies rank, as tables for the terminal and the page."""

from collections.abc import Mapping
from typing import Any

import rich.box
from rich.table import Table

HEADINGS = (
    "tau",
    "95%",
    "rho",
    "given count",
    "gain, flops",
    "gain, params",
    "top fifth",
    "first choice",
    "its rank",
    "s/arch",
)


def accuracy_names(result: Mapping[str, Any]) -> list[str]:
    """The accuracies that rank.json compares with."""
    return list(
        dict.fromkeys(name for proxy in result["proxies"].values() for name in proxy["accuracy"])
    )


def rank_rows(result: Mapping[str, Any], accuracy: str) -> list[tuple[str, ...]]:
    """(proxy, and a word for each of `HEADINGS`) by proxy, the greatest Kendall tau first."""
    proxies = result["proxies"]

    def tau(name: str) -> float:
        value = proxies[name]["accuracy"][accuracy]["kendall_tau"]
        return -2.0 if value is None else value

    return [
        _row(name, proxies[name], proxies[name]["accuracy"][accuracy])
        for name in sorted(proxies, key=tau, reverse=True)
    ]


def rank_tables(result: Mapping[str, Any]) -> list[Table]:
    """One table for each accuracy. `result` is what rank.json holds."""
    tables = []
    for accuracy in accuracy_names(result):
        table = Table(
            title=f"{result['table']}: {accuracy}",
            title_justify="left",
            box=rich.box.SIMPLE_HEAD,
            pad_edge=False,
            collapse_padding=True,
        )
        table.add_column("proxy", no_wrap=True)
        for heading in HEADINGS:
            table.add_column(heading, justify="right", no_wrap=heading == "95%", min_width=5)
        for row in rank_rows(result, accuracy):
            table.add_row(*row)
        tables.append(table)
    return tables


def _row(name: str, proxy: Mapping[str, Any], compared: Mapping[str, Any]) -> tuple[str, ...]:
    first = compared.get("first_choice")
    return (
        name,
        _number(compared["kendall_tau"]),
        " ".join(map(_number, compared["ci95"])),
        _number(compared["spearman_rho"]),
        _number(compared.get("partial_tau")),
        *(_number(gain_of(compared, cost)) for cost in ("flops", "params")),
        _number(compared.get("tau_top_fifth")),
        f"{first['accuracy']:.1f}" if first else "-",
        str(first["rank"]) if first else "-",
        f"{proxy['seconds_per_architecture']:.2g}",
    )


def gain_of(compared: Mapping[str, Any], cost: str) -> float | None:
    """The share of the possible gain under budgets of a cost, or None."""
    return compared.get("budget_gain", {}).get(cost, {}).get("gain")


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
