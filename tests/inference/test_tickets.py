"""The engine by ticket against what each image means by itself; images are told apart by their
first pixels.
"""

import threading
import time

import numpy as np
import pytest
from inference.test_engine import SIDE, number_of, numbered

from vintk_jax.inference.plan import DONE, Plan, Step
from vintk_jax.inference.tickets import Tickets


def plan_of(batches=None, gate=None):
    """Three steps; an image's setting is the step that answers it, and the even ones come through
    all steps before. An answer is (number + step, 1).
    """

    def step(which):
        def run(images):
            if gate is not None:
                gate.wait(20)
            if batches is not None:
                batches.append((which, len(images)))
            return (np.stack([number_of(images) + which, np.ones(len(images))], 1).astype("f4"),)

        def follow(outputs):
            return np.where(outputs[-1] == which, DONE, which + 1)

        return Step(f"length {which}", run, follow, 0.25 if which else 0.0)

    def first(settings):
        return np.where(settings == 1, 1, 0)

    return Plan([step(which) for which in range(3)], first)


class Running:
    """An engine in a thread of its own, and what it has answered: (ticket, index) -> answer."""

    def __init__(self, plan, sizes=(1, 4, 8), max_wait=0.001):
        self.found = {}
        self.order = []
        self.passes = []
        self.engine = Tickets(plan, (SIDE, SIDE, 3), sizes, max_wait, self._answer)
        self._thread = threading.Thread(target=self.engine.run)
        self._thread.start()

    def _answer(self, answered, done):
        for row, (ticket, index) in enumerate(zip(answered.tickets, answered.indices.tolist())):
            assert (ticket, index) not in self.found
            known = answered.steps[row], answered.probabilities[row, 0], answered.waited[row]
            self.found[ticket, index] = (*known, answered.run[row])
            self.order.append(ticket)
        self.passes.append(done)

    def end(self):
        self.engine.close()
        self._thread.join(20)
        assert not self._thread.is_alive()


def wanted(number, setting):
    """An answer: an earlier step has a quarter of the say, where there was one."""
    if setting != 2:
        return number + setting
    return 0.25 * (0.25 * number + 0.75 * (number + 1)) + 0.75 * (number + 2)


def test_every_image_has_its_own_answer():
    """From several threads at once, whatever shares a batch with it."""
    running = Running(plan_of())
    images = numbered(300)
    settings = np.arange(300) % 3

    def ask(ticket):
        part = slice(20 * ticket, 20 * ticket + 20)
        running.engine.submit(ticket, images[part], settings[part])

    threads = [threading.Thread(target=ask, args=(ticket,)) for ticket in range(15)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    running.end()
    assert len(running.found) == 300
    for (ticket, index), (step, value, waited, run) in running.found.items():
        number = 20 * ticket + index
        assert step == settings[number]
        if settings[number] == 1:  # its first step: nothing earlier has a say
            assert value == number + 1
        else:
            assert value == pytest.approx(wanted(number, settings[number]))
        assert waited >= 0
        assert run > 0
    assert sum(done.images for done in running.passes) == 100 + 100 + 300


def test_a_large_ticket_starves_nobody():
    """One image that comes behind 4,000 is answered ahead of most of them."""
    gate = threading.Event()
    running = Running(plan_of(gate=gate))
    running.engine.submit("large", np.repeat(numbered(1), 4000, axis=0), np.zeros(4000, int))
    running.engine.submit("small", numbered(1), np.zeros(1, int))
    gate.set()
    running.end()
    assert running.order.index("small") < 200
    assert len(running.order) == 4001


def test_who_goes_away_frees_their_places():
    """What waits is never run; what runs is answered to nobody; the rest is answered."""
    gate = threading.Event()
    batches = []
    running = Running(plan_of(batches, gate), sizes=(8,))
    for ticket in ("goes", "stays"):
        running.engine.submit(ticket, numbered(600), np.zeros(600, int))
    time.sleep(0.05)
    running.engine.cancel("goes")
    gate.set()
    running.end()
    there = {ticket for ticket, _ in running.found}
    assert len([1 for ticket, _ in running.found if ticket == "stays"]) == 600
    assert len(batches) < 100  # of 150 for all
    running.engine.cancel("unknown")
    assert "stays" in there


def test_a_lone_image_does_not_wait_for_company():
    """Longer than it may."""
    running = Running(plan_of(), sizes=(64,), max_wait=0.01)
    begun = time.monotonic()
    running.engine.submit("one", numbered(1), np.zeros(1, int))
    while not running.found:
        assert time.monotonic() - begun < 10
        time.sleep(0.001)
    running.end()
