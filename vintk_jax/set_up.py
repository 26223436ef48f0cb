"""What commands set in JAX before it starts."""

import os


def set_up_jax(dtype: str) -> None:
    """One CPU device a core, so that each core scores a candidate of its own; float64 where it is asked for."""
    import jax

    if jax.config.jax_num_cpu_devices == -1:
        jax.config.update("jax_num_cpu_devices", len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
