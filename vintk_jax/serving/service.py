"""The whole service, from a config to its end."""

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvicorn

from vintk_jax.compile_cache import CompileCacheSettings
from vintk_jax.errors import UserError
from vintk_jax.serving.answering import Answering
from vintk_jax.serving.decoders import Decoders
from vintk_jax.serving.guard import Guard
from vintk_jax.serving.link import Link
from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.opening import (
    TOKEN,
    check_limits,
    listen,
    name_of,
    read_token,
    refuse_strangers,
    shown,
)
from vintk_jax.serving.places import Places
from vintk_jax.serving.protocol import ConnectionLimits, bounded
from vintk_jax.serving.receiving import Receiving
from vintk_jax.serving.responses import Service, refusal
from vintk_jax.serving.routes import application, route_of

_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_MB = 10**6


def serve(
    workdir: Path,
    config: Any,
    compile_cache: CompileCacheSettings,
    say: Callable[[str], None],
    check_only: bool = False,
) -> None:
    """Serve a model until a signal ends it.

    Args:
        workdir: of the training, or an exported folder.
        config: see `defaults.serve`.
        say: called with what an operator wants to know.
        check_only: open the address, and stop.

    Raises:
        UserError: for a config that can't be served, and for a model that can't.
    """
    token = read_token(config.http.token_file, os.environ.get(TOKEN, ""))
    refuse_strangers(config.http, token)
    check_limits(config.limits)
    name = name_of(workdir, config.http.name)
    with listen(config.http.host, config.http.port) as sock:
        address = shown(config.http.host, sock.getsockname()[1])
        if check_only:
            return
        say(f"{name} at {address}; loading and compiling")
        asyncio_run(_Running(workdir, config, compile_cache, name, token, say).run(sock))


def asyncio_run(work: Any) -> None:
    """Run to the end, on uvicorn's choice of a loop."""
    factory = uvicorn.Config(None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


@dataclasses.dataclass
class _Running:
    """A service that runs."""

    workdir: Path
    config: Any
    compile_cache: CompileCacheSettings
    name: str
    token: str
    say: Callable[[str], None]

    async def run(self, sock: socket.socket) -> None:
        """Until a signal comes, or the model can't be served."""
        config = self.config
        limits = config.limits
        begun = time.monotonic()
        metrics = Metrics()
        places = Places(limits.queue, metrics)
        self.link = Link(self._for_worker(), places, 2 * limits.seconds, metrics, self.say)
        receiving = Receiving(
            int(limits.body_mb * _MB), int(limits.bodies_mb * _MB), limits.body_seconds
        )
        later = _Later()
        answering = Answering(self.link, later, receiving, places, limits.seconds, limits.images)
        bounds = {
            "images": limits.images,
            "bytes": int(limits.body_mb * _MB),
            "pixels": int(limits.pixels_m * 10**6),
            "seconds": limits.seconds,
        }
        service = Service(self.name, self.link, answering, metrics, bounds)
        self.server = uvicorn.Server(self._for_uvicorn(service, metrics))
        tasks = [asyncio.create_task(self.link.run()), asyncio.create_task(self.link.watch())]
        tasks.append(asyncio.create_task(self._end_when_failed()))
        tasks.append(asyncio.create_task(self._open_decoders(later, metrics, begun)))
        _leave_signals_to_us()
        try:
            await self.server.serve(sockets=[sock])
        finally:
            await self.link.stop(limits.seconds)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            if later.decoders is not None:
                await later.decoders.stop()
        if self.link.failed.is_set():
            raise UserError(self.link.failure)
        self.say("Ended; what was accepted is answered.")

    async def _open_decoders(self, later: "_Later", metrics: Metrics, begun: float) -> None:
        """Start the decoders once it is known what images they make."""
        decoding = self.config.decoding
        await self.link.known.wait()
        about = self.link.about
        settings = {
            "shape": about["shape"],
            "crop_ratio": about["crop_ratio"],
            "most_images": self.config.limits.images,
            "most_pixels": int(self.config.limits.pixels_m * 10**6),
            "memory": int(decoding.memory_mb * _MB),
        }
        later.decoders = Decoders(decoding.processes, settings, decoding.seconds, self.say)
        try:
            await later.decoders.start()
        except (EOFError, TimeoutError, OSError) as error:
            return self.link.fail(
                f"A process that opens pictures can't be started ({type(error).__name__}: {error})."
            )
        metrics.decoder_restarts.set_function(lambda: later.decoders.restarts)
        while not self.link.ready:
            await asyncio.sleep(0.02)
        self.say(f"Ready after {time.monotonic() - begun:.1f} s.")

    async def _end_when_failed(self) -> None:
        await self.link.failed.wait()
        self.server.should_exit = True

    def _for_worker(self) -> dict[str, Any]:
        config = self.config
        budget = dict(config.budget.items())
        return {
            "folder": str(self.workdir),
            "checkpoint": config.checkpoint,
            "adaptive": config.adaptive,
            "budget": {
                name: "inf" if value == float("inf") else value for name, value in budget.items()
            },
            "batch_sizes": sorted(set(config.engine.batch_sizes)),
            "max_wait": config.engine.max_wait_ms / 1000,
            "window": config.drift.images,
            "distance": config.drift.distance,
            "compile_cache": dataclasses.asdict(self.compile_cache),
        }

    def _for_uvicorn(self, service: Service, metrics: Metrics) -> uvicorn.Config:
        limits = self.config.limits
        own = self.config.http.host
        own = f"[{own}]" if ":" in own else own  # as addresses have it
        hosts = (*_LOOPBACK, own, *self.config.http.hosts)
        guard = Guard(application(service), refusal, hosts, self.token, route_of, metrics)

        def count_refused(status: str) -> None:
            metrics.connections_refused.labels(status).inc()

        bounds = ConnectionLimits(
            limits.connections, limits.header_seconds, limits.seconds, count_refused
        )
        return uvicorn.Config(
            guard,
            http=bounded(bounds),
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=max(int(limits.header_seconds), 1),
            timeout_graceful_shutdown=int(limits.seconds) + 5,
        )


class _Later:
    """Decoders that start once the model's shape is known."""

    def __init__(self):
        self.decoders: Decoders | None = None

    async def read(self, content_type: str, body: bytes) -> Any:
        """As `Decoders.read`."""
        return await self.decoders.read(content_type, body)


def _leave_signals_to_us() -> None:
    """uvicorn raises the signals that it took again once it has ended; that shouldn't end us."""
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(ValueError):  # in a thread, where uvicorn takes none
            signal.signal(number, _nothing)


def _nothing(number: int, frame: Any) -> None:
    """The service is ending already."""
