"""Runs an exported model: `pip install jax flatbuffers`, or `pip install onnxruntime` for ONNX;
nothing else is needed.

from load import Model model = Model("path/to/folder")            # or Model(folder, "onnx"), where
model.json names ONNX files probabilities, lengths = model(images)     # uint8 images of
model.shape, any number of them; each at the length that it needs probabilities = model.at("16",
images)     # or all at one length, by its number of tokens
"""

import json
import pathlib

import numpy as np


def stablehlo(folder, plan):
    import jax.export

    with np.load(folder / "weights.npz") as stored:
        arrays = dict(stored)
    for name, program in plan["programs"].items():
        run = jax.jit(
            jax.export.deserialize(bytearray((folder / program["stablehlo"]).read_bytes())).call
        )
        weights = [jax.device_put(arrays[array]) for array in program["weights"]]
        yield name, lambda inputs, run=run, weights=weights: run(weights, inputs)


def onnx(folder, plan):
    import onnxruntime

    for name, program in plan["programs"].items():
        session = onnxruntime.InferenceSession(
            folder / program["onnx"], providers=onnxruntime.get_available_providers()
        )
        yield (
            name,
            lambda inputs, session=session: session.run(
                None, {session.get_inputs()[0].name: inputs}
            ),
        )


class Model:
    def __init__(self, folder, format="stablehlo"):
        folder = pathlib.Path(folder)
        self.plan = json.loads((folder / "model.json").read_text())
        self.classes, self.lengths, self.shape = (
            self.plan["classes"],
            self.plan["lengths"],
            tuple(self.plan["shape"]),
        )
        self._programs = dict({"stablehlo": stablehlo, "onnx": onnx}[format](folder, self.plan))

    def _check(self, images):
        wanted = f"uint8 images of shape (n, {', '.join(map(str, self.shape))})"
        if getattr(images, "dtype", None) != np.uint8 or images.shape[1:] != self.shape:
            came = f"{getattr(images, 'dtype', type(images).__name__)}"
            raise ValueError(f"Expected {wanted}, got {came}{getattr(images, 'shape', '')}.")

    def _run(self, name, inputs):
        return [np.array(output) for output in self._programs[name](inputs)]

    def at(self, length, images):
        self._check(images)
        return self._run(length, images)[0]

    def __call__(self, images):
        self._check(images)
        known, passed = (
            np.zeros((len(images), len(self.classes)), np.float32),
            np.zeros(len(images), bool),
        )
        at = (
            self._run("assigner", images)[0]
            if "assigner" in self._programs
            else np.full(len(images), self.plan["start"])
        )
        for number, length in enumerate(self.lengths):
            rows = np.flatnonzero(at == number)
            if not len(rows):
                continue
            found, *features = self._run(length, images[rows])
            keep = (self.plan["keep"] * passed[rows, None]).astype(np.float32)
            known[rows], passed[rows] = keep * known[rows] + (1 - keep) * found, True
            if f"assigner-{number}" in self._programs:
                at[rows] = self._run(f"assigner-{number}", features[0])[0]
        return known, [self.lengths[i] for i in at]
