"""The model that a worker serves: from a training's workdir or an exported folder, and what budgets
mean for it.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vintk_jax.adaptive import assigner_files
from vintk_jax.adaptive.assigner import Assigner
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.by_setting import Setting, Settings, lengths_of_steps, plan_by_setting
from vintk_jax.adaptive.calibration import Calibration
from vintk_jax.adaptive.drift import Drift, Reference
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.adaptive.session import FOLDER
from vintk_jax.data.augment import Centre
from vintk_jax.errors import UserError
from vintk_jax.exporting.hugging_face import CONFIG
from vintk_jax.exporting.pretrained import from_pretrained
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import OneLength, Predictor
from vintk_jax.serving.asks import LONGEST
from vintk_jax.workdir.config_claims import read_claimed

_BUDGETS = 41  # that the page offers at most


@dataclasses.dataclass(frozen=True)
class Loaded:
    """What a folder holds.

    Attributes:
        predictor: the model.
        assigner: None: every image runs at the longest length.
        calibration: None where the folder has one setting only, which is the assigner's.
        budget: the one that images get that ask for none.
    """

    predictor: Predictor
    assigner: Assigner | None
    calibration: Calibration | None
    budget: Mapping[str, Any]


def load(
    folder: Path, checkpoint: str, adaptive: str, budget: Mapping[str, Any], say: Any
) -> Loaded:
    """Read a workdir, or a folder in the layout of the Hugging Face Hub.

    Args:
        checkpoint: best or last, of a workdir.
        adaptive: auto, yes or no: whether lengths are assigned.
        budget: the fields of the section; max_drop below 0 stands for the one that `assign` had.
        say: called with what there is to say about a corrupt checkpoint.

    Raises:
        UserError: for a folder that holds no classifier of images.
    """
    if (folder / CONFIG).is_file():
        model = from_pretrained(folder)
        assigner = None if adaptive == "no" else model.assigner
        if adaptive == "yes" and assigner is None:
            raise UserError(f"Expected an assigner in {folder} (adaptive=yes), got none.")
        loaded = Loaded(model.predictor, assigner, model.calibration, dict(budget))
    else:
        training = read_claimed(folder, "train")
        predictor = Predictor.load(folder, training, checkpoint, say)
        there = (folder / FOLDER / assigner_files.RECORD).exists()
        if adaptive == "no" or (adaptive == "auto" and not there):
            return _of_images(Loaded(predictor, None, None, {}))
        if budget["max_drop"] < 0:
            budget = read_claimed(folder, "assign").budget.to_dict()
        loaded = Loaded(
            predictor,
            *assigner_files.read(folder / FOLDER, predictor.identity),
            dict(budget),
        )
    return _of_images(loaded)


def _of_images(loaded: Loaded) -> Loaded:
    if not isinstance(loaded.predictor.eval_transform, Centre):
        raise UserError("Expected a classifier of images, got one of clips, which isn't served.")
    return loaded


class Model:
    """A model to be served.

    Args:
        loaded: what it is made of.
        window, limit: of the comparison with calibration (`drift.Drift`).

    Attributes:
        plan: what the engine runs.
        lengths: the length of each step of the plan, cheapest first from 0.
        drift: the comparison.
    """

    def __init__(self, loaded: Loaded, window: int, limit: float):
        self._loaded = loaded
        self._settings = Settings()
        self.plans = Plans(loaded.predictor)
        # Lengths cost what the assigner was made for, by the clock or counted, as its budgets do.
        if isinstance(loaded.assigner, FeatureAssigner):
            self.plans.seconds = np.array(loaded.assigner.costs)
        self.plan = plan_by_setting(self.plans, loaded.assigner, self._settings)
        self.lengths = lengths_of_steps(self.plan, self.plans.names)
        self.drift = Drift(len(self.plans.names), window, limit)
        self._points: dict[int, Point] = {}
        self._number = functools.lru_cache(maxsize=4096)(self._find)

    def setting(
        self,
        max_drop: float | None = None,
        max_cost: float | None = None,
        length: str | None = None,
    ) -> int:
        """The number of the setting for what an image asks.

        Raises:
            UserError: for a length that there isn't, or a budget that nothing is within.
        """
        return self._number(max_drop, max_cost, length)

    def _find(self, max_drop: float | None, max_cost: float | None, length: str | None) -> int:
        names = self.plans.names
        if length is not None:
            name = names[-1] if length == LONGEST else length
            if name not in names:
                raise UserError(f"Expected a length of {', '.join(names)} or {LONGEST}.")
            return self._settings.number(Setting(names.index(name), fixed=True))
        asked = {"max_drop": max_drop, "max_cost": max_cost}
        asked = {name: value for name, value in asked.items() if value is not None}
        if self._loaded.assigner is None:
            if asked:
                raise UserError("Expected no budget: this model has no assigner of lengths.")
            return self._settings.number(Setting(len(names) - 1, fixed=True))
        point = self.point(**asked)
        if point is None:
            if asked:
                raise UserError("Expected no budget: this folder was exported with one setting.")
            assigner = self._loaded.assigner
            return self._settings.number(Setting(assigner.start, assigner.price))
        number = self._settings.number(Setting(point.start, point.setting))
        self._expect(number, point)
        return number

    def point(self, **asked: float) -> Point | None:
        """What a budget is expected to come to: the service's own where nothing is asked; a cost
        alone leaves the drop free. None where it isn't known.
        """
        calibration = self._loaded.calibration
        if calibration is None:
            return None
        budget = self._loaded.budget
        if asked:
            free = {"max_drop": np.inf, "max_cost": 1.0 if "max_drop" in asked else np.inf}
            budget = {**budget, **free, **asked}
        elif budget["max_drop"] < 0:
            assigner = self._loaded.assigner
            for point in calibration.assigned:
                if (point.setting, point.start) == (assigner.price, assigner.start):
                    return point
            return None
        return calibration.choose("assigned", **budget)

    def _expect(self, number: int, point: Point) -> None:
        count = sum(point.confidences)
        if count:
            sure = tuple(share / count for share in point.confidences)
            images = self._loaded.calibration.images
            self.drift.expect(number, Reference(images, point.mix, sure))
        self._points[number] = point

    @functools.cached_property
    def digest(self) -> str:
        """Of all weights, the assigner's too, and of the classes."""
        found = hashlib.sha256()
        predictor, assigner = self._loaded.predictor, self._loaded.assigner
        variables = [predictor.length(name).variables for name in predictor.names]
        trees = [variables, assigner.params if assigner else ()]
        for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
            array = np.asarray(leaf)
            found.update(f"{jax.tree_util.keystr(path)} {array.shape} {array.dtype}".encode())
            found.update(np.ascontiguousarray(array).tobytes())
        found.update(repr(predictor.classes).encode())
        return found.hexdigest()[:16]

    def about(self) -> dict[str, Any]:
        """What clients and the page are told of it."""
        predictor = self._loaded.predictor
        calibration = self._loaded.calibration
        expected = self.point() if self._loaded.assigner is not None else None
        return {
            "digest": self.digest,
            "classes": list(predictor.classes),
            "shape": list(predictor.shape),
            "crop_ratio": predictor.eval_transform.ratio,
            "lengths": [
                {"name": name, "grid": _grid(length), "cost": cost}
                for name, length, cost in zip(
                    self.plans.names, self.plans.lengths, self.plans.costs_alone, strict=True
                )
            ],
            "assigned": self._loaded.assigner is not None,
            "calibrated_on": calibration.images if calibration else 0,
            "expected": _described(expected, calibration),
            "budgets": [_described(point, calibration) for point in self._offered()],
            "compared": bool(expected and expected.confidences),
        }

    def _offered(self) -> list[Point]:
        """Settings of which none is both dearer and less accurate than another, by their cost."""
        calibration = self._loaded.calibration
        if calibration is None or self._loaded.assigner is None:
            return []
        best: list[Point] = []
        for point in sorted(calibration.assigned, key=_dearer):
            if not best or point.accuracy > best[-1].accuracy:
                best.append(point)
        return _spread(best, _BUDGETS)


def _grid(length: OneLength) -> list[int]:
    """Token rows and columns, which the page draws; none for a length by region, whose tokens lie
    elsewhere in each image.
    """
    return list(length.grid) if isinstance(length.grid, tuple) else []


def _dearer(point: Point) -> tuple[float, float]:
    return point.cost, -point.accuracy


def _spread(points: Sequence[Point], most: int) -> list[Point]:
    """So many of them at most, the first and the last among them."""
    if len(points) <= most:
        return list(points)
    return [points[i] for i in np.linspace(0, len(points) - 1, most).round().astype(int)]


def _described(point: Point | None, calibration: Calibration | None) -> dict[str, Any] | None:
    if point is None or calibration is None:
        return None
    return {
        "cost": point.cost,
        "drop": (calibration.full - point.accuracy) * 100,
        "mix": list(point.mix),
    }
