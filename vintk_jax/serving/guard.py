"""What every request passes before it is looked at: who may ask, by which name, from where. And
what every answer bears: headers that keep browsers from doing anything with it.
"""

import base64
import binascii
import hmac
import re
import sys
import time
import traceback
from collections.abc import Callable, Collection
from typing import Any

from vintk_jax.serving.metrics import Metrics

FAULT = "A fault of the service; it has told its operator."
HEALTH = ("/v2/health/live", "/v2/health/ready")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = [
    (b"content-security-policy", _POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"permissions-policy", b"camera=(), geolocation=(), microphone=()"),
    (b"cache-control", b"no-store"),
]
_ANY_HOST = "*"
_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[^\[\]:@/]+)(:[0-9]*)?")


class Guard:
    """An ASGI application around another.

    Args:
        app: what answers.
        refuse: (status, reason, headers) -> an ASGI application that says so.
        hosts: names that a request may call this service by, without ports; "*" for any.
        token: what has to come with every request but those for health; empty: nothing.
        route_of: the name of a request's route, for metrics: one of a few.
        metrics: of the service.
    """

    def __init__(
        self,
        app: Any,
        refuse: Callable[..., Any],
        hosts: Collection[str],
        token: str,
        route_of: Callable[[str], str],
        metrics: Metrics,
    ):
        self._app = app
        self._refuse = refuse
        self._hosts = {host.lower() for host in hosts}
        self._token = token.encode()
        self._route_of = route_of
        self._metrics = metrics

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or refuse it."""
        if scope["type"] != "http":
            return
        begun = time.perf_counter()
        status = 0

        async def send_guarded(message: Any) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message = {**message, "headers": [*message["headers"], *_HEADERS]}
            await send(message)

        app = self._refusal(scope) or self._app
        try:
            await app(scope, receive, send_guarded)
        except Exception:
            # Where it happened, and nothing of what was sent.
            kind = sys.exc_info()[0].__name__
            where = "".join(traceback.format_tb(sys.exc_info()[2]))
            print(f"A fault while answering ({kind}):\n{where}", file=sys.stderr, flush=True)
            if not status:
                await self._refuse(500, FAULT)(scope, receive, send_guarded)
        finally:
            route = self._route_of(scope["path"])
            # 499, as nginx has it: the sender went away before there was an answer.
            self._metrics.requests.labels(route, str(status or 499)).inc()
            self._metrics.request_seconds.labels(route).observe(time.perf_counter() - begun)

    def _refusal(self, scope: Any) -> Any:
        """What answers in the application's place; None for a request that may pass."""
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name == b"transfer-encoding":
                # Chunks may be of one byte each, which costs the front far more than the sender.
                reason = "Expected a Content-Length; bodies in chunks are not taken."
                return self._refuse(411, reason, {"Connection": "close"})
            if name in (b"host", b"authorization", b"origin") and name in headers:
                return self._refuse(400, f"Expected one header {name.decode()}, got several.")
            headers[name] = value
        if scope["path"] in HEALTH:
            return None
        host = headers.get(b"host", b"").decode("latin-1").lower()
        if _ANY_HOST not in self._hosts and _without_port(host) not in self._hosts:
            return self._refuse(
                421, "This service doesn't go by that name. Its operator can add it (http.hosts)."
            )
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").lower().partition("://")[2] != host:
            return self._refuse(403, "Requests from pages of other origins are refused.")
        followed = scope["method"] == "GET" and headers.get(b"sec-fetch-mode") == b"navigate"
        if headers.get(b"sec-fetch-site") in (b"cross-site", b"same-site") and not followed:
            return self._refuse(403, "Requests from pages of other sites are refused.")
        if self._token and not self._knows_token(headers.get(b"authorization", b"")):
            challenge = 'Basic realm="vintk_jax", charset="UTF-8"'
            return self._refuse(
                401,
                "Expected the header Authorization: Bearer TOKEN, or the token as a password.",
                {"WWW-Authenticate": challenge},
            )
        return None

    def _knows_token(self, authorization: bytes) -> bool:
        """By the header's Bearer token, or, for browsers, the password of any name."""
        scheme, _, given = authorization.partition(b" ")
        given = given.strip()
        if scheme.lower() == b"basic":
            try:
                given = base64.b64decode(given, validate=True).partition(b":")[2]
            except (binascii.Error, ValueError):
                return False
        elif scheme.lower() != b"bearer":
            return False
        return hmac.compare_digest(given, self._token)


def _without_port(host: str) -> str:
    """A Host header's name; an IPv6 address keeps its brackets. Empty for what is no name."""
    found = _HOST.fullmatch(host)
    return found["name"] if found else ""
