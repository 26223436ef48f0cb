"""A client of the service that costs little: kept connections, nothing but what a request needs.
Also how a service is started for a measurement, and what its processes take.
"""

import asyncio
import contextlib
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import psutil

_READY_SECONDS = 180


class Reply(NamedTuple):
    """An answer.

    Attributes:
        status: of HTTP; 0 for a connection that was lost.
        body: as it came.
        seconds: from the first byte sent to the last one received.
    """

    status: int
    body: bytes
    seconds: float

    def answers(self) -> list[dict[str, Any]]:
        """Of /predict."""
        return json.loads(self.body)["answers"]


class Connection:
    """A kept connection, opened again when it was closed."""

    def __init__(self, port: int):
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(self, path: str, body: bytes) -> Reply:
        """POST bare pixels."""
        begun = time.perf_counter()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream"
            f"\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(
                    "127.0.0.1", self._port, limit=2**20
                )
            self._writer.write(head.encode() + body)
            status, content = await self._answer()
        except (OSError, asyncio.IncompleteReadError):
            self.close()
            return Reply(0, b"", time.perf_counter() - begun)
        return Reply(status, content, time.perf_counter() - begun)

    async def _answer(self) -> tuple[int, bytes]:
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        lines = head.split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:] if ": " in line)
        content = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            self.close()
        return int(lines[0].split()[1]), content

    def close(self) -> None:
        """Let it go."""
        if self._writer is not None:
            self._writer.close()
        self._writer = None


class Served:
    """A service of a workdir, started for a measurement.

    Attributes:
        port: it listens at.
        ready_seconds: from its start to its readiness.
    """

    def __init__(self, workdir: Path, *options: str):
        words = [sys.executable, "-m", "vintk_jax.serve", "--workdir", str(workdir), *options]
        begun = time.perf_counter()
        self._process = subprocess.Popen(
            [*words, "--config.http.port=0"], stderr=subprocess.PIPE, text=True
        )
        line = ""
        while "http://" not in line:
            line = self._process.stderr.readline()
            if not line:
                raise SystemExit(f"The service of {workdir} did not start.")
        self.port = int(line.split("http://127.0.0.1:")[1].split("/")[0])
        while "Ready after" not in line:
            line = self._process.stderr.readline()
            if not line or time.perf_counter() - begun > _READY_SECONDS:
                raise SystemExit(f"The service of {workdir} did not become ready.")
        self.ready_seconds = time.perf_counter() - begun

    def processes(self) -> dict[str, list[psutil.Process]]:
        """Front, worker and decoders."""
        front = psutil.Process(self._process.pid)
        found: dict[str, list[psutil.Process]] = {"front": [front], "worker": [], "decoders": []}
        for child in front.children():
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                if "vintk_jax.serving.worker" in words:
                    found["worker"].append(child)
                elif "vintk_jax.serving.decoder" in words:
                    found["decoders"].append(child)
        return found

    def taken(self, measure: Callable[[psutil.Process], float]) -> dict[str, float]:
        """A measure of its processes, summed up by their kind."""
        return {
            kind: sum(measure(process) for process in processes)
            for kind, processes in self.processes().items()
        }

    def memory(self) -> dict[str, float]:
        """Megabytes that are resident."""
        return self.taken(_megabytes)

    def processor(self) -> dict[str, float]:
        """Seconds of processor time since the start."""
        return self.taken(_processor)

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()

    def end(self) -> int:
        """SIGTERM; the exit code."""
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(60)
        self._process.stderr.close()
        return code


def _megabytes(process: psutil.Process) -> float:
    return process.memory_info().rss / 1e6


def _processor(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
