"""The engine's waiting bound holds while it is busy, not only when it is idle.

Time is simulated: a batch takes what its rows cost, and waiting for images takes none.
"""

import numpy as np
import pytest

from vintk_jax.inference import engine, waiting
from vintk_jax.inference.engine import DONE, Engine, Plan, Step
from vintk_jax.inference.feeds import StreamFeed

MOST = 64
SIZES = (1, 8, 64)
CALL, ROW = 0.008, 0.0005  # seconds of a batch, and of each row


class Clock:
    """Seconds that only work and waiting move."""

    def __init__(self):
        self.now = 0.0

    def monotonic(self) -> float:
        """As time.monotonic."""
        return self.now


class Stream(StreamFeed):
    """So many images, of which `rate` come a second; the engine takes them when it wants."""

    def __init__(self, clock, count, rate=np.inf):
        self.clock = clock
        self.count = count
        self.rate = rate
        self.taken = 0
        self.admitted = []

    @property
    def ended(self):
        """Whether all are taken."""
        return self.taken >= self.count

    def take(self, most):
        """Those that have come by now."""
        come = self.count if self.rate == np.inf else int(self.clock.now * self.rate)
        some = max(min(most, min(come, self.count) - self.taken), 0)
        images = np.zeros((some, 1, 1, 3), np.uint8)
        images[:, 0, 0, 0], images[:, 0, 0, 1] = np.divmod(self.taken + np.arange(some), 256)
        self.taken += some
        self.admitted += [self.clock.now] * some
        return images

    def wait(self, seconds):
        """Until the next image or so many seconds later."""
        until = np.inf if seconds is None else self.clock.now + seconds
        if not self.ended and self.rate < np.inf:
            until = min(until, (self.taken + 1) / self.rate)
        assert until < np.inf, "waited for ever"
        self.clock.now = max(self.clock.now, until) + 1e-6

    def check(self):
        """Nothing went wrong."""


def served(monkeypatch, goes_on, max_wait, count, rate=np.inf, firsts=None, sizes=SIZES):
    """Run a plan of two steps, of which `goes_on` says which images take the second; or with
    `firsts` one of that many steps that all answer, image i at step i % firsts.

    Returns the seconds from admission until each image has left, the batches as (step, rows) and
    the seconds of the whole.
    """
    clock = Clock()
    monkeypatch.setattr(waiting, "time", clock)
    monkeypatch.setattr(engine, "time", clock)
    batches = []

    def run(which):
        def of(images):
            batches.append((which, len(images)))
            clock.now += CALL + ROW * len(images)
            numbers = images[:, 0, 0, 0].astype(int) * 256 + images[:, 0, 0, 1]
            return np.ones((len(images), 2), np.float32), numbers

        return of

    plan = Plan(
        [
            Step("short", run(0), lambda found: np.where(goes_on(found[1]), 1, DONE)),
            Step("long", run(1), lambda found: np.full(len(found[0]), DONE)),
        ]
    )
    if firsts is not None:

        def done(found):
            return np.full(len(found[0]), DONE)

        steps = [Step(str(i), run(i), done) for i in range(max(firsts(np.arange(2000))) + 1)]
        plan = Plan(steps, firsts)
    stream = Stream(clock, count, rate)
    left = []
    for block in Engine(plan, (1, 1, 3), sizes, max_wait)._blocks(stream, max_wait):
        left += [clock.now] * len(block.steps)
        assert len(stream.admitted) - len(left) <= 64 * MOST
    assert len(left) == count
    return np.array(left) - np.array(stream.admitted), batches, clock.now


@pytest.mark.parametrize("every", [2, 7, 50, 613, 10_000])
def test_a_busy_stream_keeps_the_bound(monkeypatch, every):
    """99.9% of images leave within two waits and the batches ahead, however rare the second step
    is, and the whole takes 5% more at most than full batches would.
    """
    waited, _, seconds = served(monkeypatch, lambda number: number % every == 0, 0.02, 12_000)
    batch = CALL + ROW * MOST
    assert np.quantile(waited, 0.999) <= 2 * 0.02 + 11 * batch
    # Full batches of the second step alone take so long.
    passed = len(range(0, 12_000, every))
    least = (12_000 + passed) * (ROW + CALL / MOST)
    assert seconds <= 1.05 * least + 4 * batch


def test_late_images_do_not_hold_full_batches_up(monkeypatch):
    """A late step that isn't full runs a batch of rows at most, then a full one follows."""
    _, batches, _ = served(monkeypatch, lambda number: number % 5 == 0, 0.001, 6_000)
    rows = 0
    for step, size in batches[:-8]:
        rows = rows + size if step == 1 and size < MOST else 0
        assert rows <= MOST


def test_a_slow_stream_waits_for_company_and_no_longer(monkeypatch):
    """An image of a stream slower than the engine runs after `max_wait`, in a batch with those that
    came meanwhile.
    """
    waited, batches, _ = served(monkeypatch, lambda number: number % 2 == 0, 0.02, 400, rate=200)
    assert waited.max() <= 2 * 0.02 + 4 * (CALL + ROW * 8)
    assert np.mean([size for _, size in batches]) > 2


@pytest.mark.parametrize("sizes", [SIZES, (MOST,)])
@pytest.mark.parametrize("steps", [2, 4, 9])
def test_several_rare_steps_keep_the_bound(monkeypatch, steps, sizes):
    """One image in 97 begins at one of the others in turn; also with one size of batch."""

    def firsts(places):
        return np.where(places % 97 == 5, 1 + (places // 97) % (steps - 1), 0)

    waited, _, _ = served(monkeypatch, None, 0.02, 12_000, firsts=firsts, sizes=sizes)
    assert waited.max() <= 0.02 + (12 + 2 * steps) * (CALL + ROW * MOST)


@pytest.mark.parametrize("steps", [1, 3, 5])
def test_several_first_steps_have_full_batches(monkeypatch, steps):
    """Images are taken ahead for each of them."""
    _, batches, _ = served(monkeypatch, None, 10.0, 12_000, firsts=lambda places: places % steps)
    assert len(batches) <= 12_000 / MOST + 2 * 3 * steps


def test_what_is_no_image_comes_out_in_its_place():
    """Whatever converting it raises; the others are answered. No images have no answers."""

    class Broken:
        def __array__(self, *_, **__):
            raise OSError("gone")

    def run(images):
        return (np.ones((len(images), 2), np.float32),)

    plan = Plan([Step("a", run, lambda found: np.full(len(found[0]), DONE))])
    made = Engine(plan, (1, 1, 3), (1, 4), 0.001)
    fine = np.zeros((1, 1, 3), np.uint8)
    answers = list(made(iter([fine, [[1, 2], [3]], Broken(), fine])))
    assert [bool(answer.error) for answer in answers] == [False, True, True, False]
    assert len(made.all(np.zeros((0, 1, 1, 3), np.uint8)).steps) == 0
