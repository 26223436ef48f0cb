"""Runs an exported model: `pip install jax flatbuffers`, or `pip install onnxruntime` for ONNX;
nothing else is needed.

    from load import Model

    model = Model("path/to/folder")  # or Model(folder, "onnx"), where model.json names ONNX files
    # uint8 images of model.shape, any number of them; each at the length that it needs
    probabilities, lengths = model(images)
    # or all at one length, by its number of tokens
    probabilities = model.at("16", images)
"""

import functools
import json
import pathlib

import numpy as np


def stablehlo(folder, plan):
    """(name, function) of each StableHLO program."""
    import jax.export

    with np.load(folder / "weights.npz") as stored:
        arrays = dict(stored)
    for name, program in plan["programs"].items():
        run = jax.jit(
            jax.export.deserialize(bytearray((folder / program["stablehlo"]).read_bytes())).call
        )
        weights = [jax.device_put(arrays[array]) for array in program["weights"]]
        yield name, functools.partial(run, weights)


def onnx(folder, plan):
    """(name, function) of each ONNX model."""
    import onnxruntime

    for name, program in plan["programs"].items():
        session = onnxruntime.InferenceSession(
            folder / program["onnx"], providers=onnxruntime.get_available_providers()
        )
        yield name, functools.partial(_run_onnx, session)


def _run_onnx(session, *inputs):
    return session.run(
        None, {given.name: array for given, array in zip(session.get_inputs(), inputs)}
    )


class Model:
    """An exported model.

    Attributes:
        plan: what model.json says.
        classes: their names.
        lengths: names of the token lengths, cheapest first.
        shape: of an image.
    """

    def __init__(self, folder, format="stablehlo"):
        folder = pathlib.Path(folder)
        self.plan = json.loads((folder / "model.json").read_text())
        self.classes = self.plan["classes"]
        self.lengths = self.plan["lengths"]
        self.shape = tuple(self.plan["shape"])
        load = {"stablehlo": stablehlo, "onnx": onnx}[format]
        self._programs = dict(load(folder, self.plan))

    def _check(self, images):
        wanted = f"uint8 images of shape (n, {', '.join(map(str, self.shape))})"
        if getattr(images, "dtype", None) != np.uint8 or images.shape[1:] != self.shape:
            came = f"{getattr(images, 'dtype', type(images).__name__)}"
            raise ValueError(f"Expected {wanted}, got {came}{getattr(images, 'shape', '')}.")

    def _run(self, name, *inputs):
        return [np.array(output) for output in self._programs[name](*inputs)]

    def at(self, length, images):
        """Probabilities (n, classes) of images at one length."""
        self._check(images)
        return self._run(length, images)[0]

    def __call__(self, images):
        """Probabilities (n, classes) of images, and the name of the length that each ended at."""
        self._check(images)
        probabilities = np.zeros((len(images), len(self.classes)), np.float32)
        passed = np.zeros(len(images), bool)
        if "assigner" in self._programs:
            at = self._run("assigner", images)[0]
        else:
            at = np.full(len(images), self.plan["start"])
        tokens = {}  # what a pass gave that others begin with, by image
        for number, length in enumerate(self.lengths):
            rows = np.flatnonzero(at == number)
            if not len(rows):
                continue
            asked = f"assigner-{number}" in self._programs
            name, inputs = length, [images[rows]]
            if f"{length}-after" in self._programs and all(row in tokens for row in rows.tolist()):
                name = f"{length}-after"
                inputs.append(np.stack([tokens[row] for row in rows.tolist()]))
            new, *more = self._run(name, *inputs)
            features = more.pop(0) if asked else None
            for left in more:
                tokens.update(zip(rows.tolist(), left))
            weight = (self.plan["keep"] * passed[rows, None]).astype(np.float32)
            probabilities[rows] = weight * probabilities[rows] + (1 - weight) * new
            passed[rows] = True
            if asked:
                at[rows] = self._run(f"assigner-{number}", features)[0]
        return probabilities, [self.lengths[i] for i in at]
