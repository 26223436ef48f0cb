"""Runs an exported model; needs jax and numpy, nothing else.

from load import Model
model = Model("path/to/folder")
probabilities, lengths = model(images)     # uint8 images of model.shape, any number of them; each at the length that it needs
probabilities = model.at("16", images)     # or all at one length, by its number of tokens
"""

import json
import pathlib

import jax.export
import numpy as np


class Model:
    def __init__(self, folder):
        folder = pathlib.Path(folder)
        self.plan = json.loads((folder / "model.json").read_text())
        self.classes, self.lengths, self.shape = self.plan["classes"], self.plan["lengths"], tuple(self.plan["shape"])
        weights = np.load(folder / "weights.npz")
        self._programs = {}
        for name, program in self.plan["programs"].items():
            exported = jax.export.deserialize(bytearray((folder / program["file"]).read_bytes()))
            self._programs[name] = jax.jit(exported.call), [jax.device_put(weights[array]) for array in program["weights"]]

    def _run(self, name, inputs):
        program, weights = self._programs[name]
        return [np.array(output) for output in program(weights, inputs)]

    def at(self, length, images):
        return self._run(length, images)[0]

    def __call__(self, images):
        known, passed = np.zeros((len(images), len(self.classes)), np.float32), np.zeros(len(images), bool)
        at = self._run("assigner", images)[0] if "assigner" in self._programs else np.full(len(images), self.plan["start"])
        for number, length in enumerate(self.lengths):
            rows = np.flatnonzero(at == number)
            if not len(rows):
                continue
            found, *features = self._run(length, images[rows])
            keep = self.plan["keep"] * passed[rows, None]
            known[rows], passed[rows] = keep * known[rows] + (1 - keep) * found, True
            if f"assigner-{number}" in self._programs:
                at[rows] = self._run(f"assigner-{number}", features[0])[0]
        return known, [self.lengths[i] for i in at]
