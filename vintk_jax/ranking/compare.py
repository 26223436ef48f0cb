"""From scores and a table to rank.json."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from vintk_jax.proxies import Proxy
from vintk_jax.proxies.costs import FLOPS
from vintk_jax.ranking.statistics import compare
from vintk_jax.ranking.tables import Table


def values_of(
    proxies: Sequence[Proxy], records: Sequence[Sequence[Mapping[str, Any]]]
) -> dict[str, Float[np.ndarray, "seeds architectures"]]:
    """Each proxy's score of every architecture, by seed. A proxy that compares architectures with
    each other is joined here. A count of the architecture alone has one seed.
    """
    values = {}
    for proxy in proxies:
        counted = all(m.of == "architecture" for m in proxy.measurements)
        of_seeds = []
        for of_seed in records[:1] if counted else records:
            scores = np.array([record["scores"][proxy.name] for record in of_seed], float)
            of_seeds.append(proxy.join(scores) if proxy.join else scores)
        values[proxy.name] = np.stack(of_seeds)
    return values


def compare_all(
    table: Table,
    proxies: Sequence[Proxy],
    records: Sequence[Sequence[Mapping[str, Any]]],
    values: Mapping[str, Float[np.ndarray, "seeds architectures"]],
    seed: int,
) -> dict[str, Any]:
    """Every proxy against every accuracy of the table.

    Args:
        records: by seed, of the table's rows, in its order (see `scores`).
        values: the scores, as `values_of` gives them.

    Returns:
        {"table", "space", "num_architectures", "seeds", "held_fixed", "proxies": {name:
        {"seconds_per_architecture", "peak_bytes", "accuracy": {name: see `statistics.compare`}}}}.
        Seconds are the median over architectures, compiling left out; what `tau_partial` holds
        fixed is parameters and depth, what `partial_tau` does is the count "held_fixed".
    """
    space = table.space
    groups = [space.width(arch) for arch in table.archs]
    costs = [space.cost(arch) for arch in table.archs]
    depths = [space.total_depth(arch) for arch in table.archs]
    params = np.array([cost.params for cost in costs], float)
    controls = np.column_stack([params, np.array(depths, float)])
    by_cost = {"flops": np.array([cost.flops for cost in costs], float), "params": params}
    fixed = np.array([FLOPS.function(space, arch) for arch in table.archs], float)
    compared = {}
    for proxy in proxies:
        needed = {m.group for m in proxy.measurements}
        every = [record for of_seed in records for record in of_seed]
        compared[proxy.name] = {
            "seconds_per_architecture": statistics.median(
                sum(record["seconds"][name] for name in needed) for record in every
            ),
            "peak_bytes": max(record["peak_bytes"][name] for record in every for name in needed),
            "accuracy": {
                name: compare(values[proxy.name], accuracy, groups, controls, fixed, by_cost, seed)
                for name, accuracy in table.accuracies().items()
            },
        }
    return {
        "table": table.name,
        "space": space.name,
        "num_architectures": len(table.archs),
        "seeds": len(records),
        "held_fixed": FLOPS.name,
        "proxies": compared,
    }
