"""Real services for tests: processes of their own, on a tiny model, at any free port."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
from exporting.test_hugging_face import CLASSES, IMAGES, assign, trained

ROOT = Path(__file__).resolve().parents[2]
RAW = {"Content-Type": "application/octet-stream"}
TOKEN = "a-token-of-enough-characters"
SMALL = [
    "--config.http.port=0",
    "--config.engine.batch_sizes=(1,8)",
    "--config.decoding.processes=1",
]
__all__ = ["CLASSES", "IMAGES", "RAW", "TOKEN", "Running", "make_workdir"]


def make_workdir(folder):
    """A model of three lengths with random weights, and an assigner that uses all of them. Its
    calibration has the service's own point, and one each for the shortest and the longest length.
    """
    trained(folder)
    assigner = assign(folder)
    path = folder / "assign" / "assigner.json"
    record = json.loads(path.read_text())
    (own,) = record["calibration"]["assigned"]
    # What calibration saw: answers of little confidence, at all lengths.
    own["confidences"] = [0, 60, 30, 10, 0, 0, 0, 0, 0, 0]
    shortest = {**own, "setting": 1e6, "cost": 0.1, "accuracy": 0.5, "mix": [1.0, 0.0, 0.0]}
    longest = {**own, "setting": 0.0, "start": 2, "cost": 1.0, "accuracy": 0.75}
    longest |= {"mix": [0.0, 0.0, 1.0], "lost": 0, "error": 0.0}
    record["calibration"]["assigned"] = [shortest, own, longest]
    path.write_text(json.dumps(record))
    budget = {"budget.max_drop": float("inf"), "budget.max_cost": 0.6, "budget.confidence": 0.9}
    (folder / "assign.config.json").write_text(json.dumps(budget))
    return assigner


class Running:
    """A service that runs.

    Attributes:
        address: of the service, without a slash at its end.
        port: it listens at.
        process: the front.
    """

    def __init__(self, workdir, *options, token="", wait=True):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("JAX_NUM")}
        environment |= {"JAX_PLATFORMS": "cpu", "VINTK_SERVE_TOKEN": token}
        self._log = open(f"{workdir}.{time.monotonic_ns()}.log", "w+")  # noqa: SIM115 (`end`)
        words = [sys.executable, "-m", "vintk_jax.serve", "--workdir", str(workdir)]
        self.process = subprocess.Popen(
            [*words, *SMALL, *options], cwd=ROOT, env=environment, stderr=self._log
        )
        self.token = token
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        found = self._until(lambda: re.search(r"http://([\d.]+):(\d+)/", self.said()))
        self.port = int(found[2])
        self.address = f"http://127.0.0.1:{self.port}"
        self.client = httpx.Client(base_url=self.address, headers=headers, timeout=60)
        if wait:
            self.wait_until_ready()

    def said(self):
        """What it has printed."""
        return Path(self._log.name).read_text()

    def _until(self, condition, seconds=120):
        """What a condition comes to; it has to, in time."""
        begun = time.monotonic()
        while not (found := condition()):
            assert self.process.poll() is None, self.said()
            assert time.monotonic() - begun < seconds, self.said()
            time.sleep(0.02)
        return found

    def is_ready(self):
        """Whether health says so."""
        with contextlib.suppress(httpx.TransportError):
            return self.client.get("/v2/health/ready").status_code == 200
        return False

    def wait_until_ready(self):
        """Seconds until it was."""
        begun = time.monotonic()
        self._until(self.is_ready)
        return time.monotonic() - begun

    def children(self, module):
        """Its processes that run a module of `vintk_jax.serving`."""
        found = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if f"vintk_jax.serving.{module}" in child.cmdline():
                    found.append(child)
        return found

    def predict(self, images, **words):
        """The answers to bare pixels."""
        content = np.ascontiguousarray(images).tobytes()
        answer = self.client.post("/predict", content=content, headers=RAW, params=words)
        assert answer.status_code == 200, answer.text
        return answer.json()["answers"]

    def raw(self, content, half_close=False, seconds=10):
        """Bytes sent, and all that comes back."""
        with socket.create_connection(("127.0.0.1", self.port), seconds) as sock:
            with contextlib.suppress(ConnectionError):
                sock.sendall(content)
                if half_close:
                    sock.shutdown(socket.SHUT_WR)
            return everything(sock)

    def end(self, how=signal.SIGTERM):
        """Its exit code."""
        self.client.close()
        if self.process.poll() is None:
            self.process.send_signal(how)
        code = self.process.wait(60)
        self._log.close()
        return code


def everything(sock):
    """All that comes until the other side closes."""
    parts = []
    with contextlib.suppress(ConnectionError):
        while part := sock.recv(65536):
            parts.append(part)
    return b"".join(parts)
