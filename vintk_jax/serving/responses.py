"""What every address answers with, and what it needs for that."""

import dataclasses
import json
from typing import Any

from starlette.responses import JSONResponse, Response

from vintk_jax.serving.answering import Answering
from vintk_jax.serving.link import Link
from vintk_jax.serving.metrics import Metrics

DIGITS = 6  # behind the point of a probability


@dataclasses.dataclass(frozen=True)
class Service:
    """What the addresses need.

    Attributes:
        name: of the model.
        link: to the worker.
        answering: of requests with images.
        metrics: of the service.
        bounds: that clients are told of.
    """

    name: str
    link: Link
    answering: Answering
    metrics: Metrics
    bounds: dict[str, Any]


class JSON(JSONResponse):
    """JSON in ASCII: what a request may hold, half of a surrogate pair say, need not have another
    encoding.
    """

    def render(self, content: Any) -> bytes:
        """The bytes of an answer."""
        return json.dumps(content, separators=(",", ":"), allow_nan=False).encode()


def refusal(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """An answer that says why there is none."""
    return JSON({"error": reason}, status, headers)
