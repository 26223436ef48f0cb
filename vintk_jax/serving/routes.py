"""The addresses of the service, and what each answers."""

import dataclasses
import json
from collections.abc import Callable
from importlib import metadata, resources
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from vintk_jax.serving.answering import Answering, Answers
from vintk_jax.serving.guard import HEALTH
from vintk_jax.serving.link import Link
from vintk_jax.serving.metrics import Metrics
from vintk_jax.serving.refusals import Refused

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
_OUTPUTS = ("probabilities", "class", "length", "waited_ms", "run_ms")
_DIGITS = 6  # behind the point of a probability


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


def application(service: Service) -> Starlette:
    """The application, without its guard."""
    protocol = _Protocol(service)
    version = "/v2/models/{name}/versions/{version}"
    routes = [
        *(Route(path, _file(*file)) for path, file in _PAGE.items()),
        Route("/predict", _predict(service), methods=["POST"]),
        Route("/about", _about(service)),
        Route("/metrics", _metrics(service)),
        Route(HEALTH[0], protocol.live),
        Route(HEALTH[1], protocol.ready),
        Route("/v2", protocol.server),
        Route("/v2/models/{name}", protocol.model),
        Route(version, protocol.model),
        Route("/v2/models/{name}/ready", protocol.model_ready),
        Route(f"{version}/ready", protocol.model_ready),
        Route("/v2/models/{name}/infer", protocol.infer, methods=["POST"]),
        Route(f"{version}/infer", protocol.infer, methods=["POST"]),
    ]
    handlers = {Refused: _refused, HTTPException: _http_error, ClientDisconnect: _left}
    app = Starlette(routes=routes, exception_handlers=handlers)
    app.router.redirect_slashes = False
    return app


def route_of(path: str) -> str:
    """One of a few names for a request's address, for metrics."""
    if path in HEALTH:
        return "health"
    if path in _PAGE:
        return "page"
    if path in ("/predict", "/about", "/metrics"):
        return path[1:]
    if path == "/v2" or path.startswith("/v2/models/"):
        return "infer" if path.endswith("/infer") else "model"
    return "other"


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


async def _refused(request: Request, refused: Refused) -> Response:
    return refusal(refused.status, refused.reason, refused.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    reasons = {
        404: "There is nothing at this address.",
        405: "This address takes another method.",
    }
    return refusal(error.status_code, reasons.get(error.status_code, error.detail), error.headers)


async def _left(request: Request, error: ClientDisconnect) -> Response:
    return Response(status_code=499)  # nobody reads it


def _file(name: str, kind: str) -> Callable:
    content = resources.files("vintk_jax.serving").joinpath("page", name).read_bytes()

    async def show(request: Request) -> Response:
        return Response(content, media_type=kind)

    return show


def _metrics(service: Service) -> Callable:
    async def show(request: Request) -> Response:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return Response(service.metrics.text(), headers={"Content-Type": kind})

    return show


def _about(service: Service) -> Callable:
    async def show(request: Request) -> Response:
        link = service.link
        return JSON(
            {
                "name": service.name,
                "ready": link.ready,
                "model": link.about,
                "drift": link.drift,
                "bounds": service.bounds,
            }
        )

    return show


def _predict(service: Service) -> Callable:
    async def predict(request: Request) -> Response:
        found = await service.answering.answers(request)
        about = service.link.about
        answers = described(found, about)
        for i in sorted(found.decoded.errors):
            answers.insert(i, {"error": found.decoded.errors[i]})
        return JSON({"model": service.name, "digest": about["digest"], "answers": answers})

    return predict


def described(found: Answers, about: dict[str, Any]) -> list[dict[str, Any]]:
    """What is said of each image that was answered."""
    ticket = found.ticket
    classes = about["classes"]
    rounded = np.round(ticket.probabilities.astype(np.float64), _DIGITS)
    best = rounded.argmax(axis=1)
    answers = []
    for i, first in enumerate(best.tolist()):
        length = about["lengths"][ticket.lengths[i]]
        answer = {
            "class": classes[first],
            "probability": float(rounded[i, first]),
            "length": length["name"],
            "grid": length["grid"],
            "waited_ms": round(float(ticket.waited[i]), 3),
            "run_ms": round(float(ticket.run[i]), 3),
        }
        if found.top is None:
            answer["probabilities"] = rounded[i].tolist()
        else:
            order = np.argsort(-rounded[i], kind="stable")[: found.top].tolist()
            answer["top"] = [
                {"class": classes[k], "probability": float(rounded[i, k])} for k in order
            ]
        answers.append(answer)
    return answers


class _Protocol:
    """The Open Inference Protocol, version 2, over HTTP
    (kserve/open-inference-protocol, specification/protocol/inference_rest.md).
    """

    def __init__(self, service: Service):
        self._service = service
        self._link = service.link

    async def live(self, request: Request) -> Response:
        """The service can answer."""
        return JSON({"live": True})

    async def ready(self, request: Request) -> Response:
        """The model can answer, too."""
        ready = self._link.ready
        # The specification names this field "live"; its implementations say "ready".
        return JSON({"live": ready, "ready": ready}, 200 if ready else 503)

    async def server(self, request: Request) -> Response:
        """What this is."""
        version = metadata.version("vintk_jax")
        return JSON({"name": "vintk_jax", "version": version, "extensions": []})

    async def model(self, request: Request) -> Response:
        """What the model takes and gives."""
        about = self._known(request)
        kinds = {"probabilities": "FP32", "class": "BYTES", "length": "BYTES"}
        outputs = [
            {
                "name": name,
                "datatype": kinds.get(name, "FP32"),
                "shape": [-1, len(about["classes"])] if name == "probabilities" else [-1],
            }
            for name in _OUTPUTS
        ]
        inputs = [{"name": "images", "datatype": "UINT8", "shape": [-1, *about["shape"]]}]
        return JSON(
            {
                "name": self._service.name,
                "versions": [about["digest"]],
                "platform": "jax_vintk",
                "inputs": inputs,
                "outputs": outputs,
            }
        )

    async def model_ready(self, request: Request) -> Response:
        """Whether the model can answer."""
        self._known(request)
        ready = self._link.ready
        said = {"name": self._service.name, "ready": ready}
        return JSON(said, 200 if ready else 503)

    async def infer(self, request: Request) -> Response:
        """Answers, as tensors."""
        self._known(request)
        found = await self._service.answering.answers(request, "application/json")
        about = self._link.about
        asked = found.decoded.request.get("outputs")
        unknown = [name for name in asked or () if name not in _OUTPUTS]
        if unknown:
            raise Refused(400, f"Expected outputs of {', '.join(_OUTPUTS)}, got {unknown[0]!r}.")
        said = {"model_name": self._service.name, "model_version": about["digest"]}
        if "id" in found.decoded.request:
            said["id"] = found.decoded.request["id"]
        names = _OUTPUTS if asked is None else asked
        return JSON({**said, "outputs": [_tensor(name, found, about) for name in names]})

    def _known(self, request: Request) -> dict[str, Any]:
        """What the model is; a request for another one is refused."""
        name = request.path_params["name"]
        if name != self._service.name:
            raise Refused(404, f"Expected the model {self._service.name}, got {name[:40]!r}.")
        about = self._link.about
        if about is None:
            raise Refused(503, "The model is not loaded yet. Ask again.", {"Retry-After": "5"})
        version = request.path_params.get("version", about["digest"])
        if version != about["digest"]:
            raise Refused(404, f"Expected the version {about['digest']}, got {version[:40]!r}.")
        return about


def _tensor(name: str, found: Answers, about: dict[str, Any]) -> dict[str, Any]:
    """An output of the protocol."""
    ticket = found.ticket
    shape = [ticket.count]
    if name == "probabilities":
        shape.append(len(about["classes"]))
        data = np.round(ticket.probabilities.astype(np.float64), _DIGITS).ravel().tolist()
    elif name == "class":
        data = [about["classes"][best] for best in ticket.probabilities.argmax(axis=1).tolist()]
    elif name == "length":
        data = [about["lengths"][number]["name"] for number in ticket.lengths.tolist()]
    else:
        column = ticket.waited if name == "waited_ms" else ticket.run
        data = np.round(column.astype(np.float64), 3).tolist()
    kind = "BYTES" if name in ("class", "length") else "FP32"
    return {"name": name, "shape": shape, "datatype": kind, "data": data}
