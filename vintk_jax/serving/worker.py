"""The worker: the process that has the model. One thread reads what is asked, the main one runs the
engine and answers.

Frames that come: the settings first, then "ask" (a ticket, with images), "cancel" and "end". Frames
that go: "starting" with words, "ready" with what the model is, "failed" with a reason, "refused"
for a ticket, "answers".
"""

import json
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np

from vintk_jax.compile_cache import CompileCacheSettings
from vintk_jax.errors import UserError
from vintk_jax.serving import frames
from vintk_jax.serving.worker_rows import ROW


def main(descriptor: int) -> None:
    """Serve a model to the process at the other end of a socket, until it is closed.

    Args:
        descriptor: of the socket.
    """
    # Whoever ends a service ends the group of its processes, often; only the front is to listen.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    with socket.socket(fileno=descriptor) as sock:
        try:
            settings, _ = frames.read_now(sock)
            worker = _open(sock, settings)
        except UserError as error:
            sock.sendall(frames.packed({"is": "failed", "reason": str(error)}))
            return
        except (EOFError, BrokenPipeError):
            return
        worker.run()


def _open(sock: socket.socket, settings: dict[str, Any]) -> "_Worker":
    """Load and compile."""
    from vintk_jax.jax_settings import set_up_training

    set_up_training(CompileCacheSettings(**settings["compile_cache"]))

    from vintk_jax.inference.engine import warm_up
    from vintk_jax.serving.model import Model, load

    def say(note: str) -> None:
        print(note, file=sys.stderr, flush=True)

    budget = dict(settings["budget"])
    # What JSON has no number for.
    budget = {name: float("inf") if value == "inf" else value for name, value in budget.items()}
    loaded = load(
        Path(settings["folder"]), settings["checkpoint"], settings["adaptive"], budget, say
    )
    model = Model(loaded, settings["window"], settings["distance"])
    model.setting()  # a budget that nothing is within is told now
    sock.sendall(frames.packed({"is": "starting", "about": model.about()}))
    warm_up(model.plan, loaded.predictor.shape, settings["batch_sizes"])
    return _Worker(sock, model, loaded.predictor.shape, settings)


class _Worker:
    """An engine between two threads and a socket."""

    def __init__(self, sock: socket.socket, model: Any, shape: tuple[int, ...], settings: Any):
        from vintk_jax.inference.tickets import Tickets

        self._sock = sock
        self._sending = threading.Lock()
        self._model = model
        self._shape = shape
        self._engine = Tickets(
            model.plan, shape, settings["batch_sizes"], settings["max_wait"], self._answer
        )

    def run(self) -> None:
        """Answer until the front says "end" or is gone."""
        threading.Thread(target=self._read, daemon=True).start()
        self._send({"is": "ready", "about": self._model.about()})
        self._engine.run()

    def _send(self, header: dict[str, Any], *parts: Any) -> None:
        with self._sending:
            self._sock.sendall(frames.packed(header, *parts))

    def _read(self) -> None:
        try:
            while True:
                asked, body = frames.read_now(self._sock)
                if asked["do"] == "ask":
                    self._ask(asked, body)
                elif asked["do"] == "cancel":
                    self._engine.cancel(asked["ticket"])
                else:
                    self._engine.close()
        except (EOFError, OSError):
            os._exit(0)  # the front is gone: nobody waits for what runs
        except BaseException:
            sys.excepthook(*sys.exc_info())
            os._exit(1)

    def _ask(self, asked: dict[str, Any], body: bytes) -> None:
        images = np.frombuffer(body, np.uint8).reshape(-1, *self._shape)
        try:
            by_words = {}
            for words in asked["asks"]:
                key = json.dumps(words, sort_keys=True)
                by_words[key] = self._model.setting(**words)
            numbers = [by_words[json.dumps(words, sort_keys=True)] for words in asked["asks"]]
        except UserError as error:
            self._send({"is": "refused", "ticket": asked["ticket"], "reason": str(error)})
            return
        settings = np.array(numbers if len(numbers) > 1 else numbers * len(images))
        self._engine.submit(asked["ticket"], images, settings)

    def _answer(self, answered: Any, done: Any) -> None:
        """Called by the engine, in the main thread."""
        count = len(answered.indices)
        rows = np.zeros(count, ROW)
        lengths = self._model.lengths[answered.steps]
        rows["ticket"] = answered.tickets
        rows["index"] = answered.indices
        rows["length"] = lengths
        rows["waited"] = 1000 * answered.waited
        rows["run"] = 1000 * answered.run
        header = {
            "is": "answers",
            "count": count,
            "pass": [self._model.plan.steps[done.step].name, done.images, done.seconds],
        }
        if count:
            probabilities = np.ascontiguousarray(answered.probabilities, np.float32)
            self._model.drift.add(answered.settings, lengths, probabilities.max(axis=1))
            header["drift"] = _words(self._model.drift.distance())
            parts = (rows.view(np.uint8), probabilities)
        else:
            parts = ()
        try:
            self._send(header, *parts)
        except OSError:
            os._exit(0)


def _words(distance: Any) -> dict[str, Any]:
    return {
        "images": distance.images,
        "known": distance.known,
        "beyond": distance.beyond,
        "lengths": round(distance.mix, 4),
        "lengths_limit": round(distance.limit_mix, 4),
        "confidences": round(distance.sure, 4),
        "confidences_limit": round(distance.limit_sure, 4),
    }
