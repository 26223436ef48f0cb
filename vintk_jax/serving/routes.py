"""The addresses of the service, and what each answers."""

from collections.abc import Callable
from importlib import resources
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from vintk_jax.serving.answering import Answers
from vintk_jax.serving.guard import FAULT, HEALTH
from vintk_jax.serving.open_inference import OpenInference
from vintk_jax.serving.refusals import Refused
from vintk_jax.serving.responses import DIGITS, JSON, Service, refusal

_PAGE = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/style.css": ("style.css", "text/css; charset=utf-8"),
    "/page.js": ("page.js", "text/javascript; charset=utf-8"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}


def application(service: Service) -> Starlette:
    """The application, without its guard."""
    protocol = OpenInference(service)
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
    handlers[Exception] = _fault  # Starlette's own answer is no JSON
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


async def _refused(request: Request, refused: Refused) -> Response:
    return refusal(refused.status, refused.reason, refused.headers)


async def _http_error(request: Request, error: HTTPException) -> Response:
    reasons = {
        404: "There is nothing at this address.",
        405: "This address takes another method.",
    }
    return refusal(error.status_code, reasons.get(error.status_code, error.detail), error.headers)


async def _fault(request: Request, error: Exception) -> Response:
    return refusal(500, FAULT)  # the guard says where it happened


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
    rounded = np.round(ticket.probabilities.astype(np.float64), DIGITS)
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
