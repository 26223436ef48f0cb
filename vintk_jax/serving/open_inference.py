"""The addresses of the Open Inference Protocol, version 2."""

from importlib import metadata
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from vintk_jax.serving.answering import Answers
from vintk_jax.serving.refusals import Refused
from vintk_jax.serving.responses import DIGITS, JSON, Service

_OUTPUTS = ("probabilities", "class", "length", "waited_ms", "run_ms")


class OpenInference:
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
        data = np.round(ticket.probabilities.astype(np.float64), DIGITS).ravel().tolist()
    elif name == "class":
        data = [about["classes"][best] for best in ticket.probabilities.argmax(axis=1).tolist()]
    elif name == "length":
        data = [about["lengths"][number]["name"] for number in ticket.lengths.tolist()]
    else:
        column = ticket.waited if name == "waited_ms" else ticket.run
        data = np.round(column.astype(np.float64), 3).tolist()
    kind = "BYTES" if name in ("class", "length") else "FP32"
    return {"name": name, "shape": shape, "datatype": kind, "data": data}
