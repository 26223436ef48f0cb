"""Rooms of the front, without a server around them."""

import asyncio
from types import SimpleNamespace

import httpx
import numpy as np
import pytest

from vintk_jax.serving import link as links
from vintk_jax.serving.answering import Answering
from vintk_jax.serving.asks import Ask, asks_of
from vintk_jax.serving.child import Child
from vintk_jax.serving.guard import FAULT, Guard
from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.opening import TOKEN
from vintk_jax.serving.places import Places
from vintk_jax.serving.refusals import Refused
from vintk_jax.serving.responses import Service, refusal
from vintk_jax.serving.routes import application, route_of
from vintk_jax.serving.worker_rows import ROW

ABOUT = {"shape": [8, 8, 3], "classes": ["a", "b"], "lengths": [{"name": "1"}], "digest": "d"}
DRIFT = dict.fromkeys(
    ("lengths", "confidences", "lengths_limit", "confidences_limit", "images", "beyond"), 0
)


class Worker(Child):
    """One that says what a test gives it, and ends where that is None."""

    def __init__(self, *said):
        self.said = asyncio.Queue()
        for one in said:
            self.said.put_nowait(one)
        self.told = []

    def send(self, header, *parts):
        self.told.append(header)

    async def receive(self):
        said = await self.said.get()
        if said is None:
            raise EOFError
        return said

    async def end(self, patience=0.0):
        return 0


def ready(about):
    """The frame of a worker that is ready."""
    return {"is": "ready", "about": about}, b""


def answers(ticket):
    """The frame that answers a ticket of one image."""
    rows = np.zeros(1, ROW)
    rows["ticket"] = ticket
    header = {"is": "answers", "count": 1, "pass": ["1", 1, 0.001], "drift": DRIFT}
    return header, rows.tobytes() + np.zeros(2, np.float32).tobytes()


def link_to(monkeypatch, *workers):
    """A link that starts these, one after the other; its places."""
    waiting = list(workers)

    async def start(module, environment):
        assert TOKEN not in environment
        return waiting.pop(0)

    monkeypatch.setattr(links.Child, "start", start)
    metrics = Metrics()
    places = Places(4, metrics)
    return links.Link({}, places, 60.0, metrics, str), places


def test_a_quiet_time_is_no_slow_one(monkeypatch):
    """Who is refused is told to come back when there is a place, as far as busy times tell."""
    now = [0.0]
    monkeypatch.setattr(links, "time", SimpleNamespace(monotonic=lambda: now[0]))

    async def run():
        worker = Worker(ready(ABOUT))
        link, places = link_to(monkeypatch, worker)
        running = asyncio.create_task(link.run())
        await link.known.wait()

        async def answer_one():
            places.take(1)
            ticket = link.ask(bytes(192), [Ask()])
            now[0] += 0.01
            worker.said.put_nowait(answers(ticket.number))
            await ticket.done

        for _ in range(3):
            await answer_one()
            now[0] += 1000.0
        places.take(4)
        with pytest.raises(Refused) as caught:
            places.take(1)
        assert int(caught.value.headers["Retry-After"]) <= 2
        places.give(4)
        # Two images a second, one behind the other without a pause.
        places.take(1)
        held = link.ask(bytes(192), [Ask()])
        for _ in range(4):
            now[0] += 0.49
            await answer_one()
        assert places.rate == pytest.approx(2.0, rel=0.1)
        link.cancel(held)
        running.cancel()

    asyncio.run(run())


def test_a_model_of_another_shape(monkeypatch):
    """That a folder has when its worker is started again ends the service; another of the same
    shape is served.
    """

    async def run():
        same = Worker(ready({**ABOUT, "digest": "e"}), None)
        other = Worker(ready({**ABOUT, "shape": [9, 9, 3]}))
        link, _ = link_to(monkeypatch, Worker(ready(ABOUT), None), same, other)
        monkeypatch.setattr(links, "_LONGEST_PAUSE", 0.0)
        await asyncio.wait_for(link.run(), 5)
        assert link.failed.is_set()
        assert "another size" in link.failure
        assert link.about["digest"] == "e"
        assert not link.ready

    asyncio.run(run())


def test_a_fault_of_ours(monkeypatch, capsys):
    """Is told as all reasons are, in JSON; the operator is told where it was."""

    secret = "what a request held"

    def fault(metrics):
        raise RuntimeError(secret)

    monkeypatch.setattr(Metrics, "text", fault)
    metrics = Metrics()
    link, _ = link_to(monkeypatch)
    service = Service("m", link, Answering.__new__(Answering), metrics, {})
    guard = Guard(application(service), refusal, ["localhost"], "", route_of, metrics)

    async def run():
        transport = httpx.ASGITransport(guard)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await client.get("/metrics")

    answer = asyncio.run(run())
    assert (answer.status_code, answer.json()) == (500, {"error": FAULT})
    assert "content-security-policy" in answer.headers
    said = capsys.readouterr().err
    assert "in fault" in said
    assert secret not in said


def test_a_plus_in_an_address_is_a_space():
    """So that ?length=16+40 names that length."""
    assert asks_of({"length": ["16 40"]}, 1) == asks_of({"length": ["16+40"]}, 1)
    assert asks_of({"length": ["16"]}, 2) == [Ask(length="16")] * 2
