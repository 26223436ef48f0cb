"""From scores and a table to rank.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vintk_jax.proxies import Proxy
from vintk_jax.ranking.statistics import compare
from vintk_jax.ranking.tables import Table


def compare_all(table: Table, proxies: Sequence[Proxy], records: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Every proxy against every accuracy of the table.

    Args:
        records: of the table's rows, in its order (see `scores`).

    Returns:
        {"table", "space", "num_architectures", "proxies": {name: {"seconds_per_architecture", "peak_bytes", "accuracy": {name: see
        `statistics.compare`}}}}. Seconds are the median over architectures, compiling left out.
    """
    groups = [table.space.width(arch) for arch in table.archs]
    accuracies = table.accuracies()
    compared = {}
    for proxy in proxies:
        values = np.array([record["scores"][proxy.name] for record in records], float)
        seconds = [sum(record["seconds"].get(view, 0.0) for view in proxy.views) for record in records]
        compared[proxy.name] = {
            "seconds_per_architecture": statistics.median(seconds),
            "peak_bytes": max((record["peak_bytes"][view] for record in records for view in proxy.views), default=0),
            "accuracy": {name: compare(values, accuracy, groups, seed) for name, accuracy in accuracies.items()},
        }
    return {"table": table.name, "space": table.space.name, "num_architectures": len(table.archs), "proxies": compared}
