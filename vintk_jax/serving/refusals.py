"""What the service doesn't do, with the HTTP status that says so."""

from collections.abc import Mapping


class Refused(Exception):
    """A request is answered with a reason in place of a result.

    Args:
        status: of HTTP.
        reason: for the person who sent it.
        headers: that go with it.
    """

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None):
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})


def busy(reason: str, seconds: float) -> Refused:
    """Too much is in work; asking again is of use after some seconds."""
    return Refused(429, reason, {"Retry-After": str(max(1, round(seconds + 0.5)))})


def not_ready(reason: str) -> Refused:
    """The model isn't there, or not yet."""
    return Refused(503, reason, {"Retry-After": "5"})
