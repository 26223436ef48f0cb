"""Several processes of one command on this machine: a search that they share, or a training as a
cluster.

    python launch/local.py --processes 4 -- python -m vintk_jax.search \
      --config configs/vit_space.py --workdir runs/shared
    python launch/local.py --processes 2 -- python -m vintk_jax.train \
      --config configs/revit_digits.py --workdir runs/cluster

Processes of a search, or of a ranking, are alike and share the workdir: each has cores to itself,
and the others go on when one dies. Those of a training are a cluster of `jax.distributed` on
loopback, in which all end when one does; the same command goes on from the last checkpoint. Lines
are printed with the process's number ahead. `--dry-run` prints what would be started.
"""

import argparse
import os
import shlex
import socket
import subprocess
import sys
import threading
import time

# the commands whose processes are one program; all others are independent
CLUSTERS = ("vintk_jax.train",)


def environments(count: int, cluster: bool) -> list[dict[str, str]]:
    """What each process finds in its environment beside this one's: its place in the cluster, or
    its share of the cores.
    """
    if cluster:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        return [
            {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(count),
                "JAX_PROCESS_ID": str(number),
            }
            for number in range(count)
        ]
    return [{} for _ in range(count)]


def cores_of(number: int, count: int) -> set[int]:
    """The cores of one process of several: as even a share as there is, or one that others have too
    where there are too few.
    """
    cores = sorted(os.sched_getaffinity(0))
    return set(cores[number::count]) or {cores[number % len(cores)]}


def start(
    command: list[str], number: int, own: dict[str, str], cores: set[int] | None
) -> subprocess.Popen:
    """One process, whose lines a thread prints."""
    pinned = (
        ["taskset", "--cpu-list", ",".join(map(str, sorted(cores)))]
        if cores and sys.platform == "linux"
        else []
    )
    process = subprocess.Popen(
        [*pinned, *command],
        env={**os.environ, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        bufsize=1,
    )

    def show() -> None:
        for line in process.stdout:
            print(f"[{number}] {line}", end="", flush=True)

    threading.Thread(target=show, daemon=True).start()
    return process


def main() -> int:
    """Start all, wait for all; 0 if the work was done."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="behind --")
    arguments = parser.parse_args()
    command = arguments.command[1:] if arguments.command[:1] == ["--"] else arguments.command
    if arguments.processes < 1 or not command:
        parser.error("a command behind -- and one process at least were wanted")
    cluster = any(name in command for name in CLUSTERS)
    settings = environments(arguments.processes, cluster)
    shares = [
        None if cluster else cores_of(number, arguments.processes)
        for number in range(arguments.processes)
    ]
    if arguments.dry_run:
        for own, cores in zip(settings, shares, strict=True):
            print(
                " ".join([f"{k}={v}" for k, v in own.items()] + [shlex.join(command)]),
                f"# cores {sorted(cores)}" if cores else "",
            )
        return 0
    running = [start(command, number, own, shares[number]) for number, own in enumerate(settings)]
    try:
        # asks after all: a dead one would stay a zombie
        while None in (codes := [process.poll() for process in running]):
            if cluster and any(codes):
                break
            time.sleep(0.2)
    except KeyboardInterrupt:
        print("Stopping all; the same command goes on.")
    finally:
        for process in running:
            if process.poll() is None:
                process.terminate()
        codes = [process.wait() for process in running]
    for number, code in enumerate(codes):
        if code:
            print(f"[{number}] ended with {code}", flush=True)
    return max(codes, key=abs) if cluster else min(codes, key=abs)


if __name__ == "__main__":
    sys.exit(main())
