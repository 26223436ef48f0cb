"""The whole service, from a config to its end."""

import asyncio
import contextlib
import dataclasses
import os
import re
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
from vintk_jax.serving.link import Link, Places
from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.protocol import ConnectionLimits, bounded
from vintk_jax.serving.receiving import Receiving
from vintk_jax.serving.routes import Service, application, refusal, route_of

TOKEN = "VINTK_SERVE_TOKEN"
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
_LEAST_TOKEN = 16  # characters
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
    _refuse_strangers(config.http, token)
    name = name_of(workdir, config.http.name)
    with _listen(config.http.host, config.http.port) as sock:
        address = _shown(config.http.host, sock.getsockname()[1])
        if check_only:
            return
        say(f"{name} at {address}; loading and compiling")
        asyncio_run(_Running(workdir, config, compile_cache, name, token, say).run(sock))


def asyncio_run(work: Any) -> None:
    """Run to the end, on uvicorn's choice of a loop."""
    factory = uvicorn.Config(None).get_loop_factory()
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(work)


def read_token(file: str, variable: str) -> str:
    """The token of a file or of the environment; empty without one.

    Raises:
        UserError: for a file that can't be read, and a token that is easily guessed.
    """
    token = variable
    if file:
        try:
            token = Path(file).expanduser().read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"Expected a token in http.token_file={file} ({error}).") from error
    if (file or variable) and (len(token) < _LEAST_TOKEN or not token.isascii()):
        raise UserError(
            f"Expected a token of at least {_LEAST_TOKEN} ASCII characters, got {len(token)}. "
            "Make one: python -c 'import secrets; print(secrets.token_urlsafe())'"
        )
    return token


def name_of(workdir: Path, name: str) -> str:
    """The model's name in addresses: as said, or the folder's.

    Raises:
        UserError: for a name that an address can't bear.
    """
    found = name or re.sub(r"[^A-Za-z0-9._-]", "-", workdir.resolve().name).strip(".") or "model"
    if not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,79}", found):
        raise UserError(
            "Expected http.name of letters, digits, dots, dashes and underscores, at most 80, got "
            f"{name!r}."
        )
    return found


def _refuse_strangers(http: Any, token: str) -> None:
    """Beyond this machine nobody is served without a token, unless that is asked for."""
    if f"{http.host}" in ("localhost", "127.0.0.1", "::1") or token or http.open:
        return
    raise UserError(
        f"Expected a token for http.host={http.host}, which others can reach: set "
        f"http.token_file or {TOKEN}, or http.open=True where anybody may ask."
    )


def _listen(host: str, port: int) -> socket.socket:
    """The socket that requests come to."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind(address)
            sock.listen(1024)
        except OSError:
            sock.close()
            raise
    except OSError as error:
        raise UserError(
            f"Expected an address that is free, got http.host={host}, http.port={port}: "
            f"{error.strerror}. Choose another port, or 0 for any."
        ) from error
    return sock


def _shown(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


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
        await later.decoders.start()
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
        hosts = (*_LOOPBACK, self.config.http.host, *self.config.http.hosts)
        guard = Guard(application(service), refusal, hosts, self.token, route_of, metrics)
        bounds = ConnectionLimits(limits.connections, limits.header_seconds, limits.seconds)
        return uvicorn.Config(
            guard,
            http=bounded(bounds),
            ws="none",
            lifespan="off",
            log_level="error",
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=int(limits.header_seconds),
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
