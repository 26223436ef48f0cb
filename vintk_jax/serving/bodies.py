"""From the body of a request to images of the model's size. Runs in a decoder, which a hostile body
may kill.
"""

import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import create_form_parser, parse_options_header

from vintk_jax.data.augment import Centre
from vintk_jax.data.pixels import UNREADABLE, of_picture
from vintk_jax.errors import UserError
from vintk_jax.serving.asks import check_names
from vintk_jax.serving.refusals import Refused

# As vintk_jax.data.folders reads them: those that can start other programs are not among them.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
_MOST_FIELDS = 64
_MOST_FIELD_BYTES = 1024
_MOST_OUTPUTS = 16


class Images(NamedTuple):
    """What a body holds.

    Attributes:
        images: of those that could be read, in order.
        errors: what was wrong with the others, by place.
        words: fields of the form, or parameters of the protocol: values by name.
        request: what else the Open Inference Protocol's request says: id, outputs.
    """

    images: UInt8[np.ndarray, "n *image 3"]
    errors: dict[int, str]
    words: dict[str, list[Any]]
    request: dict[str, Any]


class Reader:
    """Reads bodies.

    Args:
        shape: of the model's images.
        crop_ratio: of the shorter side, which the model sees.
        most_images: in a request.
        most_pixels: of a picture.
    """

    def __init__(
        self, shape: tuple[int, ...], crop_ratio: float, most_images: int, most_pixels: int
    ):
        self._shape = tuple(shape)
        self._transform = Centre(shape[0], crop_ratio)
        self._most_images = most_images
        self._most_pixels = most_pixels
        Image.MAX_IMAGE_PIXELS = most_pixels

    def read(self, content_type: str, body: bytes) -> Images:
        """The images of a body.

        Raises:
            Refused: for a body that is none, or too much.
        """
        kind, _ = parse_options_header(content_type.encode("latin-1", "replace"))
        if kind == b"multipart/form-data":
            return self._form(content_type, body)
        if kind == b"application/json":
            return self._tensor(body)
        return self._all([body], {})

    def _all(self, contents: list[bytes], words: dict[str, list[Any]]) -> Images:
        """Encoded pictures. A request whose pictures all fail is refused as the first is."""
        images, errors = [], {}
        refusals = []
        for i, content in enumerate(contents):
            try:
                images.append(self._picture(content))
            except Refused as refused:
                errors[i] = refused.reason
                refusals.append(refused)
        if not images:
            raise refusals[0]
        return Images(np.stack(images), errors, words, {})

    def _picture(self, content: bytes) -> UInt8[np.ndarray, "size size 3"]:
        if not content:
            raise Refused(400, "Expected an image, got an empty body.")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                    self._check_size(picture)
                    pixels = of_picture(picture, Path("The image"))
        except Image.UnidentifiedImageError as error:
            raise Refused(
                415, f"Expected an image of {', '.join(FORMATS)}, got something else."
            ) from error
        except UserError as error:
            raise Refused(422, str(error)) from error
        except Image.DecompressionBombError as error:
            raise self._too_many(str(error)) from error
        except MemoryError as error:
            raise Refused(413, "The image needs more memory than it may have.") from error
        except UNREADABLE as error:
            words = " ".join(str(error).split())[:200]
            raise Refused(422, f"The image can't be read to its end ({words}).") from error
        return self._transform({"image": pixels, "label": -1}, np.random.default_rng(0))["image"]

    def _check_size(self, picture: Image.Image) -> None:
        width, height = picture.size
        if width * height > self._most_pixels:
            raise self._too_many(f"its header says {width:,} x {height:,}")

    def _too_many(self, words: str) -> Refused:
        return Refused(
            413, f"Expected an image of at most {self._most_pixels:,} pixels; {words[:200]}."
        )

    def _form(self, content_type: str, body: bytes) -> Images:
        """Files of a form are images; its other fields are words."""
        contents: list[bytes] = []
        words: dict[str, list[Any]] = {}
        ends: list[bool] = []
        fields = 0

        def on_file(file: Any) -> None:
            if len(contents) == self._most_images:
                raise Refused(413, f"Expected at most {self._most_images} images a request.")
            file.file_object.seek(0)
            contents.append(file.file_object.read())
            file.close()

        def on_field(field: Any) -> None:
            nonlocal fields
            fields += 1
            value = field.value or b""
            if fields > _MOST_FIELDS + self._most_images or len(value) > _MOST_FIELD_BYTES:
                raise Refused(413, "Expected fewer and shorter fields beside the images.")
            name = (field.field_name or b"").decode("utf-8", "replace")[:40]
            words.setdefault(name, []).append(value.decode("utf-8", "replace"))

        config = {"MAX_MEMORY_FILE_SIZE": float("inf")}  # nothing goes to a disk
        try:
            parser = create_form_parser(
                {"Content-Type": content_type.encode("latin-1", "replace")},
                on_field,
                on_file,
                config,
            )
            parser.on_end = lambda: ends.append(True)
            parser.write(body)
            parser.finalize()
        except (FormParserError, ValueError, AssertionError) as error:
            raise Refused(400, f"The form can't be read ({str(error)[:200]}).") from error
        if not ends:
            raise Refused(400, "The form can't be read: its last boundary is missing.")
        if not contents:
            raise Refused(400, "Expected a form with at least one file, got none.")
        return self._all(contents, words)

    def _tensor(self, body: bytes) -> Images:
        """A request of the Open Inference Protocol, version 2."""
        try:
            request = json.loads(body, parse_constant=_no_constant)
        except RecursionError as error:
            raise Refused(400, "Expected JSON, got some that is nested too deep.") from error
        except (ValueError, UnicodeDecodeError) as error:
            raise Refused(400, f"Expected JSON ({str(error)[:200]}).") from error
        except MemoryError as error:
            raise Refused(413, "The request needs more memory than it may have.") from error
        if not isinstance(request, dict):
            raise Refused(400, f"Expected a JSON object, got {_kind(request)}.")
        tensor = self._one_input(request)
        parameters = _checked(request, "parameters", dict, {})
        own = _checked(tensor, "parameters", dict, {})
        words = self._words({**parameters, **own})
        kept = {}
        if "id" in request:
            kept["id"] = _checked(request, "id", str, "")[:256]
        outputs = _checked(request, "outputs", list, None)
        if outputs is not None:
            if len(outputs) > _MOST_OUTPUTS:
                raise Refused(400, f"Expected at most {_MOST_OUTPUTS} outputs.")
            kept["outputs"] = [_named(one, "An output") for one in outputs]
        return Images(self._pixels(tensor), {}, words, kept)

    def _words(self, parameters: dict[str, Any]) -> dict[str, list[Any]]:
        """Values by name. So few and so plain that the front, which answers everybody, has little
        to read.
        """
        try:
            check_names(parameters)
        except UserError as error:
            raise Refused(400, str(error)) from error
        words = {}
        for name, value in parameters.items():
            values = value if isinstance(value, list) else [value]
            if len(values) > self._most_images:
                raise Refused(400, f"Expected at most {self._most_images} values of a parameter.")
            if any(
                isinstance(one, (list, dict)) or len(str(one)) > _MOST_FIELD_BYTES for one in values
            ):
                raise Refused(400, "Expected parameters that are short words or numbers.")
            words[name] = values
        return words

    def _one_input(self, request: dict[str, Any]) -> dict[str, Any]:
        inputs = _checked(request, "inputs", list, None)
        if inputs is None or len(inputs) != 1 or not isinstance(inputs[0], dict):
            count = "none" if not inputs else f"{len(inputs)}"
            raise Refused(400, f"Expected one input, named images, got {count}.")
        name = _named(inputs[0], "The input")
        if name != "images":
            raise Refused(400, f"Expected the input images, got {name[:40]!r}.")
        return inputs[0]

    def _pixels(self, tensor: dict[str, Any]) -> UInt8[np.ndarray, "n *image 3"]:
        datatype = _checked(tensor, "datatype", str, None)
        if datatype != "UINT8":
            raise Refused(400, f"Expected the datatype UINT8, got {str(datatype)[:40]!r}.")
        shape = _checked(tensor, "shape", list, None)
        wanted = ", ".join(map(str, self._shape))
        whole = shape is not None and all(type(extent) is int for extent in shape)
        if not whole or len(shape) != len(self._shape) + 1 or tuple(shape[1:]) != self._shape:
            raise Refused(400, f"Expected a shape [n, {wanted}], got {str(shape)[:80]}.")
        if shape[0] < 1:
            raise Refused(400, f"Expected at least one image, got {str(shape[0])[:40]}.")
        if shape[0] > self._most_images:
            raise Refused(413, f"Expected at most {self._most_images} images a request.")
        data = _checked(tensor, "data", list, None)
        if data is None:
            raise Refused(400, "Expected data: the tensor's numbers, nested or in one list.")
        try:
            values = np.array(data)
        except (ValueError, OverflowError, TypeError) as error:
            raise Refused(400, "Expected data of whole numbers, evenly nested.") from error
        flat = (math.prod(shape),)
        if values.shape not in (flat, tuple(shape)):
            raise Refused(
                400, f"Expected {flat[0]:,} numbers of data, got a shape {values.shape[:8]}."
            )
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 255:
            raise Refused(400, "Expected whole numbers from 0 to 255 as data.")
        return values.reshape(shape).astype(np.uint8)


def _checked(holder: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    """A value of a request, which has to be of one type where it is there."""
    value = holder.get(name, default)
    if name in holder and not isinstance(value, kind):
        raise Refused(400, f"Expected {name} to be {_KINDS[kind]}, got {_kind(value)}.")
    return value


def _named(holder: Any, what: str) -> str:
    name = holder.get("name") if isinstance(holder, dict) else None
    if not isinstance(name, str):
        raise Refused(400, f"{what} needs a name, a string.")
    return name[:80]


_KINDS = {dict: "an object", list: "an array", str: "a string"}


def _kind(value: Any) -> str:
    return _KINDS.get(type(value), "null" if value is None else type(value).__name__)


def _no_constant(name: str) -> Callable:
    raise ValueError(f"{name} is no JSON")
