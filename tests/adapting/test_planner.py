"""The rules of a plan, on a machine whose speed is made up."""

import dataclasses
import time
from types import SimpleNamespace

import pytest
from ml_collections import ConfigDict

from vintk_jax.adapting import refusals
from vintk_jax.adapting.given import Given
from vintk_jax.adapting.machine import ScoringSpeed, StepSpeed
from vintk_jax.adapting.plan import Plan, flags
from vintk_jax.adapting.planner import Machine, make_plan
from vintk_jax.adapting.rungs import RUNGS
from vintk_jax.adapting.sizing import side_of, wanted_epochs
from vintk_jax.adapting.survey import Survey
from vintk_jax.command_line import take_compile_cache
from vintk_jax.defaults.adapt import adapt
from vintk_jax.errors import UserError

SOURCE = "folder:/photos"
NOTHING = Given()


def survey_of(images, side=32, classes=10, source=SOURCE):
    """Of a folder without splits."""
    return Survey(
        source=source,
        train="train[:80%]",
        labels="train[80%:]",
        test="test",
        counts={
            "train": int(0.72 * images),
            "labels": int(0.18 * images),
            "test": int(0.1 * images),
        },
        class_counts={},
        classes=classes,
        sides=(side, side, side),
        broken={},
        small=(),
        large=(),
        identity="x",
    )


class Made(Machine):
    """As many multiply-adds a second at every size."""

    def __init__(self, speed=20e9, candidate_s=0.2):
        self.speed = speed
        self.candidate_s = candidate_s
        self.steps = []
        self.searches = []

    def step(self, values, best):
        """By the rung of these lengths."""
        self.steps.append((values, best))
        work = next(
            (
                rung.work
                for rung in RUNGS
                if best == rung.best and rung.lengths == values["model.lengths"]
            ),
            RUNGS[0].work,
        )
        step_s = 3 * values["data.batch_size"] * work / self.speed
        return StepSpeed(step_s, 0.001, 8.0, 2**29, "1 cpu")

    def scoring(self, values):
        """Always the same."""
        self.searches.append(values)
        return ScoringSpeed(self.candidate_s, 3.0, 2**29)


def plan_of(tmp_path, images=10_000, machine=None, given=NOTHING, side=32, free=2**34, **fields):
    """A plan for so many images."""
    config = adapt()
    take_compile_cache(config)
    config.update_from_flattened_dict({"time_h": 0.5, **fields})
    machine = machine or Made()
    begun = time.monotonic()
    return make_plan(config, survey_of(images, side), given, machine, tmp_path, begun, lambda: free)


def test_a_plan_fits_the_time(tmp_path):
    """Nine tenths of it at most, most of that for training; no stage is forgotten."""
    for hours in (0.2, 0.5, 2.0):
        plan = plan_of(tmp_path, time_h=hours)
        assert list(plan.seconds) == ["search", "train", "assign", "infer", "export", "page"]
        assert plan.total_s <= 0.9 * 3600 * hours + 5
        assert plan.seconds["train"] == max(plan.seconds.values())
        assert plan.seconds["search"] <= 0.2 * 3600 * hours + 25


def test_more_time_gives_a_larger_model_or_more_passes(tmp_path):
    """And never a smaller one."""
    limits = []
    for hours in (0.2, 0.5, 2.0, 8.0):
        plan = plan_of(tmp_path, time_h=hours)
        limits.append(plan.values["search"]["limits.max_flops_m"])
        assert plan.values["train"]["optimizer.epochs"] >= 6
    assert limits == sorted(limits)
    assert limits[0] < limits[-1]


def test_sizes_follow_the_images(tmp_path):
    """Small images are never enlarged beyond the smallest size, large ones cost no more tokens than
    the time allows, and few images are seen often.
    """
    assert side_of(survey_of(100, 28), RUNGS[2]) == 32
    assert side_of(survey_of(100, 70), RUNGS[2]) == 64
    assert side_of(survey_of(100, 500), RUNGS[0]) == 64
    assert side_of(survey_of(100, 500), RUNGS[-1]) == 224
    assert wanted_epochs(1_000) == 40
    assert wanted_epochs(10**6) == 6
    few = plan_of(tmp_path, images=300, time_h=2.0)
    assert few.values["train"]["optimizer.epochs"] == 150
    assert plan_of(tmp_path, side=500, time_h=0.2).lengths == (4, 2, 1)


def test_what_was_asked_for_is_taken(tmp_path):
    """Sizes of the config, whatever the time."""
    machine = Made()
    plan = plan_of(
        tmp_path,
        machine=machine,
        **{
            "plan.image_size": 48,
            "plan.lengths": (6, 3),
            "plan.candidates": 7,
            "plan.max_flops_m": 9.0,
            "plan.epochs": 3.0,
            "plan.batch_size": 32,
            "plan.flip": "no",
            "license": "MIT",
        },
    )
    train = plan.values["train"]
    assert (plan.image_size, plan.lengths) == (48, (6, 3))
    assert (train["data.image_size"], train["model.lengths"]) == (48, (6, 3))
    assert (train["optimizer.epochs"], train["data.batch_size"]) == (3.0, 32)
    assert not train["augment.flip"]
    search = plan.values["search"]
    assert (search["search.num_candidates"], search["limits.max_flops_m"]) == (7, 9.0)
    assert search["inputs.source"] == SOURCE
    assert search["inputs.image_size"] == 48  # 6 patches of 8 pixels
    assert plan.values["export"]["license"] == "MIT"
    assert len(machine.steps) == 1


def test_a_limit_is_measured_at_its_size(tmp_path):
    """The smallest size that reaches it, without trying others."""
    machine = Made()
    plan_of(tmp_path, machine=machine, **{"plan.max_flops_m": RUNGS[2].max_flops_m})
    assert [best for _, best in machine.steps] == [RUNGS[2].best]


def test_sizes_are_measured_while_there_is_hope(tmp_path):
    """One that proves too slow is not taken, and none behind it is tried."""

    class Slow(Made):
        def step(self, values, best):
            speed = super().step(values, best)
            slow = best == RUNGS[2].best
            return dataclasses.replace(speed, step_s=(50 if slow else 1) * speed.step_s)

    machine = Slow()
    plan = plan_of(tmp_path, machine=machine, time_h=2.0)
    assert [best for _, best in machine.steps][-1] == RUNGS[2].best
    assert plan.values["search"]["limits.max_flops_m"] == RUNGS[1].max_flops_m
    assert plan.lengths == RUNGS[1].lengths


def test_splits_go_to_their_stages(tmp_path):
    """What lengths are learned from is neither trained nor measured on."""
    plan = plan_of(tmp_path)
    assert plan.values["train"]["data.train_split"] == "train[:80%]"
    assert plan.values["assign"]["labels.split"] == "train[80%:]"
    assert plan.values["train"]["data.test_split"] == "test"
    assert plan.values["infer"]["budget.max_drop"] == plan.values["assign"]["budget.max_drop"]


def test_given_stages_are_left_out(tmp_path):
    """An architecture: no search. A model: no training either."""
    best = RUNGS[1].best
    machine = Made()
    plan = plan_of(tmp_path, machine=machine, given=Given(arch=tmp_path / "best.json", best=best))
    assert list(plan.seconds) == ["train", "assign", "infer", "export", "page"]
    assert machine.steps[0][1] == best
    assert not machine.searches
    training = ConfigDict(
        {"data": {"image_size": 32, "batch_size": 8}, "model": {"lengths": (4, 2), "arch": "x"}}
    )
    plan = plan_of(tmp_path, machine=machine, given=Given(model=tmp_path, training=training))
    assert list(plan.seconds) == ["assign", "infer", "export", "page"]
    assert plan.lengths == (4, 2)
    values, best = machine.steps[-1]
    assert (values["data.batch_size"], "model.arch" in values, best) == (8, False, None)


def test_too_little_time(tmp_path):
    """The message names a time that is enough."""
    with pytest.raises(UserError, match="too little for anything useful") as told:
        plan_of(tmp_path, time_h=0.01)
    hours = float(str(told.value).partition("--config.time_h=")[2].partition(",")[0])
    assert plan_of(tmp_path, time_h=hours).values["train"]["optimizer.epochs"] >= 1
    with pytest.raises(UserError, match="too little"):
        plan_of(tmp_path, images=1_000_000, machine=Made(1e9), time_h=0.1)


def test_no_space_and_no_memory(tmp_path, monkeypatch):
    """Both numbers are named."""
    with pytest.raises(UserError, match=r"GiB of memory, and 0\.1 GiB are free"):
        plan_of(tmp_path, free=2**27)
    monkeypatch.setattr(refusals.shutil, "disk_usage", lambda _: SimpleNamespace(free=10**6))
    with pytest.raises(UserError, match=r"writes about 0\.\d+ GB"):
        plan_of(tmp_path / "not" / "there")


def test_a_plan_is_kept(tmp_path):
    """Read as it was written; a damaged one is told."""
    assert Plan.read(tmp_path) is None
    plan = plan_of(tmp_path)
    plan.write(tmp_path)
    kept = Plan.read(tmp_path)
    assert kept.seconds == plan.seconds
    assert kept.survey.to_json() == plan.survey.to_json()
    assert {name: flags(values) for name, values in kept.values.items()} == {
        name: flags(values) for name, values in plan.values.items()
    }
    (tmp_path / "plan.json").write_text('{"layout": 1}')
    with pytest.raises(UserError, match="can't be read as a plan"):
        Plan.read(tmp_path)


def test_flags():
    """As a command line takes them."""
    values = {"model.lengths": (4, 2), "formats": ("onnx",), "augment.flip": True, "seed": 1}
    assert flags(values) == [
        "--config.model.lengths=(4,2)",
        "--config.formats=('onnx',)",
        "--config.augment.flip=True",
        "--config.seed=1",
    ]
