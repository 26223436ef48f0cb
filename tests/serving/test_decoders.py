"""The processes that open what strangers send: what one body takes, the next one doesn't lack."""

import asyncio
import gc
import io
import struct
import sys
import zlib

import numpy as np
import psutil
import pytest
from PIL import Image

from vintk_jax.serving.decoders import Decoders
from vintk_jax.serving.refusals import Refused

SIDE = 8
MEMORY = 120_000_000
SETTINGS = {
    "shape": [SIDE, SIDE, 3],
    "crop_ratio": 1.0,
    "most_images": 4,
    "most_pixels": 50_000_000,
    "memory": MEMORY,
}


def bomb():
    """A small file that is a picture of 49 million pixels."""

    def chunk(kind, content):
        checked = kind + content
        return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", 7000, 7000, 8, 0, 0, 0, 0)
    pixels = zlib.compress(bytes(7000 * 7001), 9)
    start = b"\x89PNG\r\n\x1a\n"
    return start + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def good():
    """A picture, and its pixels as the model sees them."""
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "png")
    return stream.getvalue(), pixels.tobytes()


def of_this_process():
    """The decoders that this process has started; it may have started whole services, too."""
    children = psutil.Process().children()
    return [child for child in children if "vintk_jax.serving.decoder" in child.cmdline()]


def test_bodies_do_not_suffer_for_earlier_ones():
    """Pictures that take all memory are refused, and each good one behind them is read; one that
    dies while it is idle costs nobody anything.
    """
    content, pixels = good()
    said = []

    async def run():
        decoders = Decoders(1, SETTINGS, 20.0, said.append)
        await decoders.start()
        try:
            for _ in range(4):
                with pytest.raises(Refused, match="memory") as caught:
                    await decoders.read("image/png", bomb())
                assert caught.value.status == 413
                found = await decoders.read("image/png", content)
                assert (found.count, found.pixels) == (1, pixels)
            (child,) = of_this_process()
            assert child.memory_info().rss < 200e6
            assert child.rlimit(psutil.RLIMIT_FSIZE) == (0, 0)
            child.kill()
            await asyncio.sleep(0.2)
            assert (await decoders.read("image/png", content)).pixels == pixels
        finally:
            await decoders.stop()

    asyncio.run(run())
    assert sum("died" in note for note in said) == 1


def test_one_that_takes_too_long():
    """Is ended; its request is told, and the next one is answered by another."""

    async def run():
        decoders = Decoders(1, SETTINGS, 2.0, str)
        await decoders.start()
        try:
            of_this_process()[0].suspend()
            with pytest.raises(Refused, match="more than 2 s"):
                await decoders.read("image/png", good()[0])
            assert (await decoders.read("image/png", good()[0])).pixels == good()[1]
        finally:
            await decoders.stop()

    asyncio.run(run())


def test_bodies_of_those_who_went_away(monkeypatch):
    """Aren't kept while all decoders are busy; these know nothing of the environment's secrets."""
    monkeypatch.setenv("VINTK_SERVE_TOKEN", "a-token-of-enough-characters")

    async def run():
        decoders = Decoders(1, SETTINGS, 20.0, str)
        await decoders.start()
        try:
            (child,) = of_this_process()
            assert "VINTK_SERVE_TOKEN" not in child.environ()
            child.suspend()
            bodies = [bytes(1000 + i) for i in range(5)]
            ours = [sys.getrefcount(body) for body in bodies]
            waiting = [asyncio.create_task(decoders.read("image/png", body)) for body in bodies]
            await asyncio.sleep(0.1)
            while waiting:
                waiting.pop().cancel()
            await asyncio.sleep(0.1)
            gc.collect()
            kept = np.array([sys.getrefcount(body) for body in bodies]) > ours
            assert kept.tolist() == [True, False, False, False, False]  # what the decoder has
            child.resume()
            content, pixels = good()
            assert (await decoders.read("image/png", content)).pixels == pixels
        finally:
            await decoders.stop()
        assert not of_this_process()

    asyncio.run(run())


def test_one_that_cannot_start():
    """Is told, and leaves nothing behind."""

    async def run():
        decoders = Decoders(1, {**SETTINGS, "shape": None}, 20.0, str)
        with pytest.raises(EOFError):
            await decoders.start()
        assert not of_this_process()

    asyncio.run(run())
