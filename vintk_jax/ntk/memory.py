"""What a compiled kernel will need, what there is, and which variant fits."""

from collections.abc import Callable, Iterable

import jax
import psutil

from vintk_jax.errors import UserError


class OutOfMemory(UserError):
    """No variant of a computation fits into the memory there is."""


def peak_bytes(compiled: jax.stages.Compiled) -> int:
    """Peak memory of one run in bytes, per device, as XLA's buffer assignment has it: arguments,
    temporaries, results.
    """
    stats = compiled.memory_analysis()
    return stats.argument_size_in_bytes + stats.temp_size_in_bytes + stats.output_size_in_bytes


def available_bytes(limit_gb: float = 0.0) -> int:
    """Memory that may be used per device, in bytes: the limit given, else what is free now.

    On CPU devices share the host's free memory (also a container's limit, where the kernel reports
    one).
    """
    if limit_gb:
        return int(limit_gb * 2**30)
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] - stats.get("bytes_in_use", 0)
    free = psutil.virtual_memory().available
    for path in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            with open(path) as f:
                free = min(free, int(f.read()) - psutil.Process().memory_info().rss)
        except (OSError, ValueError):
            continue
    return free // jax.local_device_count()


def first_fitting(
    variants: Iterable, compile_: Callable[..., jax.stages.Compiled], budget: int, advice: str
) -> tuple:
    """The first variant whose compiled form fits the budget, with it and its peak.

    Raises:
        OutOfMemory: with the smallest peak seen, the budget and the advice, when none fits.
    """
    smallest = None
    for variant in variants:
        compiled = compile_(variant)
        peak = peak_bytes(compiled)
        if peak <= budget:
            return variant, compiled, peak
        smallest = peak if smallest is None else min(smallest, peak)
    raise OutOfMemory(
        f"The kernels need {smallest / 2**30:.2f} GiB per device at least; {budget / 2**30:.2f} "
        f"GiB are there. {advice}"
    )
