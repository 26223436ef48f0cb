"""What commands set in JAX before it starts."""

import logging
import os
import sys

from vintk_jax.compile_cache import DEFAULT_CACHE, CompileCacheSettings, keep_programs

# In jax 0.10 (seen in 0.10.2) the CPU backend's YNN fusions of reductions give wrong gradients
# without a word: jax.jit(jax.jacrev(f)) of a layer norm on (20, 24) is off by a third. YNN's single
# products are right, as fast as Eigen's in training, and give a row the same bits wherever in the
# matrix it stands, which Eigen's on AVX2 do not: only they stay on. tests/test_jax_settings.py
# watches the fault, tests/inference/test_engine.py the bits.
_YNN = "--xla_cpu_experimental_ynn_fusion_type="
# CPU devices that share a batch wait for each other. XLA ends the process when one has waited for
# 40 s, as after Ctrl-Z and fg.
_PATIENCE = "--xla_cpu_collective_call_terminate_timeout_seconds="


def avoid_wrong_fusions() -> None:
    """Switch the faulty fusions off, where this jax has them and the user has not chosen otherwise,
    and the clock that ends a process; call ahead of JAX's first operation.
    """
    import jax

    flags = os.environ.get("XLA_FLAGS", "")
    if not jax.__version__.startswith("0.10."):
        return
    for flag, value in ((_YNN, "individual_dot"), (_PATIENCE, 10**6)):
        if flag not in flags:
            flags = f"{flags} {flag}{value}".strip()
    os.environ["XLA_FLAGS"] = flags


def cores() -> int:
    """That this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _make_cpu_devices(count: int) -> None:
    """So many CPU devices, unless the user has said how many."""
    import jax

    chosen = "xla_force_host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if jax.config.jax_num_cpu_devices == -1 and not chosen:
        jax.config.update("jax_num_cpu_devices", count)


# Training asks for and gives back tens of megabytes in every step, and the kernel clears each page
# anew: a third of the time of a narrow ViT's step in pages of 4 KiB, little in pages of 2 MiB
# (benchmarks/train_speed.py). Kernels of a search at 224 px take 5% less.
_GLIBC = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}


def large_pages() -> dict[str, str]:
    """The setting, for the environment of a process that is started; empty where there is no
    glibc.
    """
    return dict(_GLIBC) if sys.platform == "linux" else {}


def restart_with_large_pages() -> None:
    """Start this Python process again with a setting of glibc that it reads only at the start;
    once, and not over a user's own.
    """
    if sys.platform == "linux" and not set(_GLIBC) & set(os.environ):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **_GLIBC})


def set_up_training(
    compile_cache: CompileCacheSettings = DEFAULT_CACHE, cpu_devices: int = 1
) -> None:
    """So many CPU devices, which share all cores; processes find each other where
    JAX_COORDINATOR_ADDRESS or VINTK_DISTRIBUTED is set, and have one CPU device each.

    For processes of one's own, set JAX_NUM_PROCESSES and JAX_PROCESS_ID too (launch/local.py). With
    VINTK_DISTRIBUTED=1, JAX reads what SLURM, a TPU pod or another cluster that it knows says of
    itself.
    """
    avoid_wrong_fusions()
    keep_programs(compile_cache)
    # orbax warns of what it was asked for (reading only), and its threads report, each with its
    # traceback, what it raises in the end anyway.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    import jax

    address = os.environ.get("JAX_COORDINATOR_ADDRESS")
    if address:
        count, number = (os.environ.get(name) for name in ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID"))
        jax.distributed.initialize(
            address, int(count) if count else None, int(number) if number else None
        )
    elif os.environ.get("VINTK_DISTRIBUTED", "0") not in ("", "0"):
        jax.distributed.initialize()
    else:
        _make_cpu_devices(cpu_devices)


def set_up_jax(dtype: str, compile_cache: CompileCacheSettings = DEFAULT_CACHE) -> None:
    """One CPU device a core, so that each core scores a candidate of its own; float64 where it is
    asked for.

    LAPACK's products then stay on their candidate's core: OpenBLAS's threads wait for each other by
    spinning, a quarter of the time of a `rank` beside three busy neighbours on two cores (by perf).
    """
    avoid_wrong_fusions()
    keep_programs(compile_cache)
    import jax
    import scipy.linalg  # noqa: F401 (limits are for libraries that are loaded)
    from threadpoolctl import threadpool_limits

    threadpool_limits(1, user_api="blas")

    _make_cpu_devices(cores())
    if dtype == "float64":
        jax.config.update("jax_enable_x64", True)
