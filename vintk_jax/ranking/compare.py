"""From scores and a table to rank.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.proxies import Proxy
from vintk_jax.ranking.statistics import compare
from vintk_jax.ranking.tables import Table


def values_of(
    proxies: Sequence[Proxy], records: Sequence[Mapping[str, Any]]
) -> dict[str, Float[np.ndarray, " architectures"]]:
    """Each proxy's score of every architecture; what compares architectures with each other is
    joined here.
    """
    found = {
        proxy.name: np.array([record["scores"][proxy.name] for record in records], float)
        for proxy in proxies
    }
    return {
        proxy.name: proxy.join(found[proxy.name]) if proxy.join else found[proxy.name]
        for proxy in proxies
    }


def compare_all(
    table: Table,
    proxies: Sequence[Proxy],
    records: Sequence[Mapping[str, Any]],
    values: Mapping[str, Float[np.ndarray, " architectures"]],
    seed: int,
) -> dict[str, Any]:
    """Every proxy against every accuracy of the table.

    Args:
        records: of the table's rows, in its order (see `scores`).
        values: the scores, as `values_of` gives them.

    Returns:
        {"table", "space", "num_architectures", "proxies": {name: {"seconds_per_architecture",
        "peak_bytes", "accuracy": {name: see `statistics.compare`}}}}. Seconds are the median over
        architectures, compiling left out; what `tau_partial` holds fixed is parameters and depth.
    """
    groups = [table.space.width(arch) for arch in table.archs]
    controls = np.array(
        [(table.space.cost(arch).params, table.space.total_depth(arch)) for arch in table.archs],
        float,
    )
    accuracies = table.accuracies()
    compared = {}
    for proxy in proxies:
        needed = {m.group for m in proxy.measurements}
        compared[proxy.name] = {
            "seconds_per_architecture": statistics.median(
                sum(record["seconds"][name] for name in needed) for record in records
            ),
            "peak_bytes": max(record["peak_bytes"][name] for record in records for name in needed),
            "accuracy": {
                name: compare(values[proxy.name], accuracy, groups, controls, seed)
                for name, accuracy in accuracies.items()
            },
        }
    return {
        "table": table.name,
        "space": table.space.name,
        "num_architectures": len(table.archs),
        "proxies": compared,
    }
