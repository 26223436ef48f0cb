"""What a service opens with: its token, its name, its socket."""

import re
import socket
from pathlib import Path
from typing import Any

from vintk_jax.errors import UserError

TOKEN = "VINTK_SERVE_TOKEN"
_LEAST_TOKEN = 16  # characters


def read_token(file: str, variable: str) -> str:
    """The token of a file or of the environment; empty without one.

    Raises:
        UserError: for a file that can't be read, and a token that is easily guessed.
    """
    token = variable.strip()
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


def refuse_strangers(http: Any, token: str) -> None:
    """Beyond this machine nobody is served without a token, unless that is asked for."""
    if f"{http.host}" in ("localhost", "127.0.0.1", "::1") or token or http.open:
        return
    raise UserError(
        f"Expected a token for http.host={http.host}, which others can reach: set "
        f"http.token_file or {TOKEN}, or http.open=True where anybody may ask."
    )


def check_limits(limits: Any) -> None:
    """Refuse bounds that no request of the largest size could ever pass."""
    if limits.bodies_mb < limits.body_mb:
        raise UserError(
            f"Expected limits.bodies_mb of at least limits.body_mb={limits.body_mb:g}, got "
            f"{limits.bodies_mb:g}."
        )


def listen(host: str, port: int) -> socket.socket:
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


def shown(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"
