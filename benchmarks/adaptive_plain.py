"""A plain, smaller ViT beside a resizable one: accuracy, and images a second, both in turn."""

import time
from pathlib import Path

import numpy as np

from vintk_jax.data.sources import open_source
from vintk_jax.inference.engine import Engine
from vintk_jax.inference.plans import Plans
from vintk_jax.inference.predictor import Predictor
from vintk_jax.jax_settings import set_up_training
from vintk_jax.tasks import kind_of
from vintk_jax.workdir.config_claims import read_claimed


def plain_beside(
    plain: Path, adaptive: Path, batch_size: int, images: int, rounds: int
) -> dict[str, float]:
    """A plain model beside the longest length of another.

    Args:
        plain, adaptive: workdirs of trainings on the same data.
        images: of the test images, the first.

    Returns:
        The plain model's "accuracy" on them, and its "speed" in times of the longest length's
        images a second.
    """
    set_up_training()
    training = read_claimed(adaptive, "train")
    data = training.data
    source = open_source(data.source, data.test_split, kind_of(training).sources)
    predictors = [Predictor.load(workdir) for workdir in (plain, adaptive)]
    taken = source.part(np.arange(min(images, len(source))))
    transform = predictors[0].eval_transform
    rng = np.random.default_rng(0)
    samples = [transform(taken[i], rng) for i in range(len(taken))]
    stacked = np.stack([sample["image"] for sample in samples])
    labels = np.array([sample["label"] for sample in samples])
    engines = []
    for predictor in predictors:
        plans = Plans(predictor)
        engines.append(Engine(plans.fixed(plans.names[-1]), plans.shape, (1, batch_size)))
    seconds: list[list[float]] = [[], []]
    answers = []
    for engine in engines:
        engine.warm_up()
        answers.append(engine.all(stacked))
    for _ in range(rounds):
        for engine, runs in zip(engines, seconds, strict=True):
            start = time.perf_counter()
            engine.all(stacked)
            runs.append(time.perf_counter() - start)
    right = answers[0].probabilities.argmax(axis=1) == labels
    mine, other = (np.median(runs) for runs in seconds)
    return {"accuracy": float(right.mean()), "speed": float(other / mine)}
