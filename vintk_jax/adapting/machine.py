"""How fast this machine is at the work of a plan: a few timed steps of a training, and a few scored
candidates. What is compiled for them is kept for the run (`compile_cache`).

Runs as a process of its own, `python -m vintk_jax.adapting.stage vintk_jax.adapting.machine ASKED
ANSWER`, so that no memory stays taken.
"""

import dataclasses
import json
import resource
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import ml_collections

from vintk_jax.defaults.field import set_field
from vintk_jax.defaults.search import search
from vintk_jax.defaults.training import training
from vintk_jax.files import write_json

_STEPS = 8  # timed, behind two that are not


@dataclasses.dataclass(frozen=True)
class StepSpeed:
    """What a training was measured at.

    Attributes:
        step_s: seconds of a step, its images made ready beside it.
        images_s: seconds that making ready the images of a step takes by itself.
        compile_s: seconds that the step took to compile, or to be read from the kept programs.
        memory: bytes that the process has taken at most.
        device: as people read it.
    """

    step_s: float
    images_s: float
    compile_s: float
    memory: int
    device: str


@dataclasses.dataclass(frozen=True)
class ScoringSpeed:
    """What a search was measured at: seconds a candidate, seconds to compile, bytes at most."""

    candidate_s: float
    compile_s: float
    memory: int


def config_of(base: ml_collections.ConfigDict, values: dict[str, Any]) -> ml_collections.ConfigDict:
    """A command's config with some fields set, by dotted name."""
    for name, value in values.items():
        set_field(base, name, tuple(value) if isinstance(value, list) else value)
    return base


def measure_step(values: dict[str, Any]) -> StepSpeed:
    """Time the steps of a training.

    Args:
        values: fields of its config.

    Raises:
        UserError: for what can't be trained.
    """
    from vintk_jax.jax_settings import cores, set_up_training

    set_up_training(cpu_devices=cores())
    import jax

    from vintk_jax.data import loader
    from vintk_jax.training import sharding
    from vintk_jax.training.loop import compiled_step
    from vintk_jax.training.setup import set_up

    setup = set_up(config_of(training(), values))
    task = setup.task
    size = setup.config.data.batch_size
    batches = loader.train_batches(task.train, task.augment, batch_size=size, seed=0)
    begun = time.perf_counter()
    batch = sharding.put_batch(setup.mesh, batches[0])
    images_s = time.perf_counter() - begun
    frozen = sharding.replicate(setup.mesh, task.objective.frozen)
    step = compiled_step(setup)
    state = setup.initial()
    begun = time.perf_counter()
    state, measured = step(state, batch, frozen)
    jax.block_until_ready(measured)
    compile_s = time.perf_counter() - begun
    ahead = loader.from_step(batches, 1, setup.config.data.threads)
    seconds = []
    for number in range(_STEPS + 2):
        begun = time.perf_counter()
        state, measured = step(state, sharding.put_batch(setup.mesh, next(ahead)), frozen)
        jax.block_until_ready(measured)
        if number >= 2:
            seconds.append(time.perf_counter() - begun)
    device = jax.devices()[0]
    return StepSpeed(
        step_s=statistics.median(seconds),
        images_s=images_s,
        compile_s=compile_s,
        memory=_memory(),
        device=f"{setup.mesh.size} {device.platform} ({device.device_kind})",
    )


def measure_scoring(values: dict[str, Any]) -> ScoringSpeed:
    """Time the scoring of a search.

    Args:
        values: fields of its config.

    Raises:
        UserError: for what can't be searched.
    """
    from vintk_jax.jax_settings import set_up_jax

    set_up_jax("float32")
    import numpy as np

    from vintk_jax.searching.setup import set_up

    config = config_of(search(values["space"]), values)
    found = set_up(config, _say_nothing)
    scorer = found.make_scorer()
    begun = time.perf_counter()
    scorer.compile()
    scorer.measure([found.space.example()])
    compile_s = time.perf_counter() - begun
    begun = time.perf_counter()
    drawn = [np.random.default_rng(number) for number in range(scorer.batch_size)]
    scorer.measure([found.space.sample(generator) for generator in drawn])
    each = (time.perf_counter() - begun) / scorer.batch_size
    return ScoringSpeed(each, compile_s, _memory())


def _memory() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _say_nothing(note: str) -> None:
    """The search says it."""


def main(argv: list[str]) -> None:
    """Measure what a file asks for.

    Args:
        argv: the program's name; "train" or "search"; the file of a config's fields, as JSON; the
            file to write.
    """
    measure = {"train": measure_step, "search": measure_scoring}[argv[1]]
    speed = measure(json.loads(Path(argv[2]).read_text()))
    write_json(Path(argv[3]), dataclasses.asdict(speed))


if __name__ == "__main__":
    main(sys.argv)
