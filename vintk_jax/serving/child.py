"""A process of the service that the front starts, talks to and ends."""

import asyncio
import contextlib
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import vintk_jax
from vintk_jax.serving import frames

_BUFFER = 2**20
# Not `-m`: that would look for modules in the folder that the service was started in.
_START = (
    "import importlib, sys; sys.path.append(sys.argv[1]); "
    "importlib.import_module(sys.argv[2]).main(int(sys.argv[3]))"
)


class Child:
    """A process and the socket to it. It ends by itself when the front does."""

    def __init__(
        self,
        process: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ):
        self.process = process
        self._reader = reader
        self._writer = writer

    @classmethod
    async def start(cls, module: str, environment: Mapping[str, str]) -> "Child":
        """Start a module whose `main` takes the number of an open socket.

        Args:
            environment: all variables that it gets.
        """
        ours, theirs = socket.socketpair()
        root = str(Path(vintk_jax.__file__).parents[1])
        with theirs:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",
                "-c",
                _START,
                root,
                module,
                str(theirs.fileno()),
                pass_fds=[theirs.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the front, which lets them finish
                env=dict(environment),
            )
        ours.setblocking(False)
        reader, writer = await asyncio.open_unix_connection(sock=ours, limit=_BUFFER)
        return cls(process, reader, writer)

    def send(self, header: dict[str, Any], *parts: Any) -> None:
        """Send a frame. It is lost when the process has ended, which `receive` tells."""
        if not self._writer.is_closing():
            self._writer.write(frames.packed(header, *parts))

    async def receive(self) -> frames.Frame:
        """The next frame.

        Raises:
            EOFError: when the process has ended.
        """
        return await frames.read(self._reader)

    async def end_by_itself(self, seconds: float) -> None:
        """Wait until it has ended, for so many seconds at most."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), seconds)

    async def end(self, patience: float = 0.0) -> int:
        """Close the socket, wait for the process to end, and kill it if it doesn't.

        Args:
            patience: seconds to wait.

        Returns:
            Its exit code; minus the signal's number where one ended it.
        """
        self._writer.close()
        if patience:
            await self.end_by_itself(patience)
        with contextlib.suppress(ProcessLookupError):
            self.process.kill()
        return await self.process.wait()
