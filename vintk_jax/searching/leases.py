"""Whose claim on a trial still holds: by its process where that can be looked at, by its lease
elsewhere.

A claim says who has it, {"host", "pid", "started"}, and "until" when, in seconds since 1970.
"""

import collections
import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import psutil

_RENEWALS = 3  # in the time of a lease
Claim = dict[str, Any]


def identity() -> Claim:
    """This process, as its claims name it. The time of its start tells it from a later process of
    the same number.
    """
    process = psutil.Process()
    return {"host": socket.gethostname(), "pid": process.pid, "started": process.create_time()}


def is_valid(claim: Claim, host: str) -> bool:
    """Whether a claim holds, seen from a host.

    On the same host a living process keeps it, a suspended one (Ctrl-Z) until its lease runs out.
    """
    if claim["host"] != host:
        return claim["until"] > time.time()
    try:
        process = psutil.Process(claim["pid"])
        # A killed process that its parent hasn't asked after yet is still listed, as a zombie.
        dead = process.status() == psutil.STATUS_ZOMBIE
        if dead or process.create_time() != claim["started"]:
            return False
    except psutil.NoSuchProcess:
        return False
    return not suspended(claim["pid"]) or claim["until"] > time.time()


def suspended(pid: int) -> bool:
    """Whether a process of this host is stopped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def kept_alive(renew: Callable[[], None], lease_s: int | float) -> Iterator[None]:
    """Call `renew` from a thread while the body runs, several times in the length of a lease. The
    thread of a suspended process stops, too.
    """
    ended = threading.Event()

    def work():
        while not ended.wait(max(lease_s / _RENEWALS, 0.05)):
            # A storage that can't be reached for a moment: the next try comes.
            with contextlib.suppress(Exception):
                renew()

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def described(claims: Sequence[Claim], process: Claim) -> str:
    """In words, for whom a process waits: who holds how many, and how long at most where that is
    known.
    """
    held = collections.defaultdict(list)
    for claim in claims:
        if is_valid(claim, process["host"]):
            held[claim["host"], claim["pid"]].append(claim["until"] - time.time())
    said = []
    for (host, pid), left in held.items():
        here = host == process["host"]
        stopped = here and suspended(pid)
        who = f"process {pid}" + ("" if here else f" on {host}") + " (suspended)" * stopped
        until = f", {max(left):.0f} s at most" if stopped or not here else ""
        said.append(f"{who} with {len(left)}{until}")
    return f"waiting for {'; '.join(said)}" if said else "waiting for other processes"
