"""Token labelling: the loss by its definition, what a teacher is asked, and what it can't be."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from training.commands import SMALL, checksums, command, finish, metrics, start, train

from vintk_jax import train as train_command
from vintk_jax.errors import UserError
from vintk_jax.models.vit import ViT
from vintk_jax.tasks.objectives import Classification, length_losses, normalise
from vintk_jax.tasks.patch_labels import Teacher, TokenLabelling, resized

RNG = np.random.default_rng(0)
BATCH = {
    "image": RNG.integers(0, 256, (3, 8, 8, 3), np.uint8),
    "label": np.array([2, 0, 1], np.int32),
}
GRIDS = ((2, 2), (1, 1))
LVVIT = [
    *SMALL,
    "--config.model.stem_width=4",
    "--config.model.residual_scale=0.5",
    "--config.model.aux_head=True",
]


def log_softmax(x):
    """In NumPy, float64."""
    x = np.asarray(x, np.float64)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def test_losses_by_definition():
    """At each length the loss of the class token's answer, and a weighted mean of the patches'
    cross-entropies with the labels of their places.
    """
    objective = TokenLabelling(3, distill=0.5, grids=GRIDS, weight=0.7)
    maps = RNG.dirichlet(np.ones(3), (2, 2, 2))
    labels = np.eye(3)[[0, 2]]
    answers = [
        (RNG.standard_normal((2, 3)), RNG.standard_normal((2, patches, 3))) for patches in (4, 1)
    ]
    as_float = jax.tree.map(lambda x: x.astype(np.float32), (answers, (labels, maps)))

    @jax.jit
    def run(answers, targets):
        of_images = length_losses([logits for logits, _ in answers], targets[0], 0.5)
        return objective.losses(answers, targets), of_images, objective.right(answers[0], targets)

    got, of_images, right = run(*as_float)
    longest = -(maps.reshape(2, 4, 3) * log_softmax(answers[0][1])).sum(-1).mean()
    shortest = -(maps.mean(axis=(1, 2))[:, None] * log_softmax(answers[1][1])).sum(-1).mean()
    np.testing.assert_allclose(got, of_images + 0.7 * np.array([longest, shortest]), rtol=1e-5)
    assert float(right) == (answers[0][0].argmax(-1) == [0, 2]).mean()


def test_labels_on_other_grids_stay_distributions():
    """Halving averages four neighbours; any grid's labels sum to one."""
    maps = RNG.dirichlet(np.ones(5), (2, 8, 8)).astype(np.float32)
    grids = ((4, 4), (8, 8), (6, 6), (3, 5), (1, 1))

    @jax.jit
    def run(maps):
        return {grid: resized(maps, grid) for grid in grids}

    got = {grid: np.asarray(found) for grid, found in run(maps).items()}
    halved = maps.reshape(2, 4, 2, 4, 2, 5).mean(axis=(2, 4)).reshape(2, 16, 5)
    assert abs(got[4, 4] - halved).max() < abs(maps.reshape(2, 64, 5)[:, :16] - halved).max() / 3
    for found in got.values():
        np.testing.assert_allclose(found.sum(-1), 1, atol=1e-5)
    np.testing.assert_allclose(got[1, 1][:, 0], maps.mean(axis=(1, 2)), atol=0.02)


def test_the_teacher_looks_at_what_the_student_sees(variables_for):
    """Its softmax of every patch of the batch's images, resized to the size it knows; without a
    teacher the image's label.
    """
    model = ViT(8, (2,), (12,), 4, 3, patch_size=4, native_grid=(4, 4), pool="mean")
    variables = variables_for(model, jnp.zeros((1, 16, 16, 3)))
    alone = TokenLabelling(3, label_smoothing=0.1, grids=GRIDS)
    taught = dataclasses.replace(alone, teacher=Teacher(model, (4, 4), 16), frozen=variables)

    @jax.jit
    def prepare(batch, variables):
        key = jax.random.key(0)
        images, targets = taught.prepare(batch, key)
        _, maps = alone.taught(images, targets, None)
        return (images, taught.taught(images, targets, variables)), resized(maps, (2, 2))

    @jax.jit
    def wanted(batch, variables):
        images = normalise(batch["image"])
        larger = jax.image.resize(images, (3, 16, 16, 3), "linear")
        labels = Classification(3, label_smoothing=0.1).prepare(batch, jax.random.key(0))[1]
        return images, labels, model.apply(variables, larger, dense=True)[1]

    (images, (labels, maps)), of_label = prepare(BATCH, variables)
    seen, smoothed, of_patches = wanted(BATCH, variables)
    np.testing.assert_allclose(images, seen)
    np.testing.assert_allclose(labels, smoothed)
    np.testing.assert_allclose(maps.reshape(3, 16, 3), np.exp(log_softmax(of_patches)), atol=1e-5)
    np.testing.assert_allclose(of_label, np.repeat(labels[:, None], 4, 1), atol=1e-6)


@pytest.mark.slow
def test_a_trained_teacher(tmp_path):
    """Train a teacher, an LV-ViT on its labels (the same after a kill), and spend tokens by it, all
    by the ordinary commands.
    """
    teacher = tmp_path / "teacher"
    student = tmp_path / "student"
    killed = tmp_path / "killed"
    finish(train(teacher, "--config.model.pool=mean", "--config.optimizer.epochs=1"))
    options = [*LVVIT, f"--config.loss.teacher={teacher}", "--config.optimizer.epochs=3"]
    finish(start(command("train", "revit_digits", student, *options)))
    again = start(command("train", "revit_digits", killed, *options))
    while again.poll() is None and not list(killed.glob("checkpoints/last/*/meta/metadata")):
        pass
    again.kill()
    again.communicate()
    finish(start(command("train", "revit_digits", killed, *options)))
    assert checksums(killed) == checksums(student)
    assert metrics(killed)[-1] == metrics(student)[-1]
    small = [
        "--config.data.batch_size=16",
        "--config.engine.batch_sizes=(1,)",
        "--config.tla.epochs=2",
        "--config.tla.batch_size=16",
    ]
    small += [
        "--config.labels.split=assign[:48]",
        "--config.labels.calibrate_split=calibrate[:32]",
        "--config.budget.max_drop=100",
    ]
    small += [
        "--config.budget.max_cost=10",
        "--config.data.split=test[:24]",
        "--config.compare.rounds=1",
    ]
    finish(start(command("assign", "tla_digits", student, *small)))
    assert "adaptive.html" in finish(start(command("infer", "tla_digits", student, *small)))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config.loss.teacher=nowhere"], "There is no nowhere/train.config.json"),
        (
            ["--config.loss.teacher=nowhere", "--config.model.aux_head=False"],
            r"model\.aux_head=True or model\.pool=mean",
        ),
        (["--config.model.patch_size=5"], "an even model.patch_size"),
        (
            ["--config.model.lengths=(32,)", "--config.model.patch_size=0"],
            "at most 16 tokens a side",
        ),
        (["--config.loss.token_weight=-1"], r"loss\.token_weight=-1"),
    ],
)
def test_what_does_not_fit_is_told(options, words, tmp_path):
    """One message by the field at fault, and nothing is written."""
    named = {option.split("=")[0] for option in options}
    kept = [option for option in LVVIT if option.split("=")[0] not in named]
    with pytest.raises(UserError, match=words):
        train_command.main(
            [
                "train",
                "--config",
                "configs/revit_digits.py",
                f"--workdir={tmp_path / 'run'}",
                *kept,
                *options,
            ]
        )
    assert not (tmp_path / "run").exists()
