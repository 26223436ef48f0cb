"""Training segmenters: loss and measure by their definitions, windows, the command on a folder of
pairs.
"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import jaccard_score
from training.commands import command, run

from vintk_jax import train as train_command
from vintk_jax.data.pairs import IGNORED
from vintk_jax.errors import UserError
from vintk_jax.spaces import get
from vintk_jax.spaces.segmentation import SegmenterArch
from vintk_jax.tasks.objectives import normalise
from vintk_jax.tasks.segmentation import Segmentation
from vintk_jax.tasks.sliding import make_sliding

RNG = np.random.default_rng(0)
LABELS = RNG.choice([0, 1, 2, IGNORED], (4, 5, 6)).astype(np.uint8)
LOGITS = RNG.standard_normal((4, 5, 6, 3)).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_loss_is_the_mean_over_pixels_with_a_class(smoothing):
    """Cross-entropy in NumPy, float64, over the pixels that aren't ignored."""
    counted = LABELS != IGNORED
    log_p = LOGITS.astype(np.float64) - np.log(
        np.exp(LOGITS.astype(np.float64)).sum(-1, keepdims=True)
    )
    targets = np.eye(3)[LABELS[counted]] * (1 - smoothing) + smoothing / 3
    wanted = -(targets * log_p[counted]).sum(-1).mean()
    objective = Segmentation(3, smoothing)
    np.testing.assert_allclose(
        objective.losses([jnp.asarray(LOGITS)], jnp.asarray(LABELS)), [wanted], rtol=1e-5
    )
    right = (LOGITS.argmax(-1) == LABELS)[counted].mean()
    assert float(objective.right(jnp.asarray(LOGITS), jnp.asarray(LABELS))) == pytest.approx(right)
    empty = jnp.full((1, 5, 6), IGNORED, jnp.uint8)
    assert float(objective.losses([jnp.asarray(LOGITS[:1])], empty)[0]) == 0


def test_mean_iou_is_scikit_learns():
    """Over batches added up, with filled-up places left out; a class that doesn't occur at all
    doesn't count.
    """
    objective = Segmentation(4)
    wide = np.concatenate([LOGITS, np.full((4, 5, 6, 1), -9, np.float32)], -1)
    total = 0
    for rows, weight in ((slice(0, 3), [1, 1, 1]), (slice(2, 4), [0, 1])):
        batch = {"label": jnp.asarray(LABELS[rows]), "weight": jnp.asarray(weight, jnp.float32)}
        total = total + np.asarray(objective.count(jnp.asarray(wide[rows]), batch), np.float64)
    counted = LABELS != IGNORED
    by_class = jaccard_score(LABELS[counted], LOGITS.argmax(-1)[counted], average=None)
    mean, found = objective.measured(total, ["a", "b", "c", "absent"])
    np.testing.assert_allclose(list(found.values()), by_class)
    assert list(found) == ["a", "b", "c"]
    assert mean == pytest.approx(by_class.mean())


def test_sliding_windows(variables_for):
    """One window is the model itself; with several, a pixel's score is the mean over the windows
    that show it.
    """
    model = get("seg-mini").model(
        SegmenterArch(48, (1, 1, 1), (2, 2, 2), (1.0, 1.0, 1.0), "linear"), 16, num_classes=3
    )
    images = jnp.asarray(RNG.integers(0, 256, (2, 16, 24, 3), np.uint8))
    variables = variables_for(model, jnp.zeros((1, 16, 16, 3)), size=0.1)

    def apply(part):
        return np.asarray(model.apply(variables, normalise(part)))

    np.testing.assert_allclose(
        make_sliding(model, 16)(variables, images[:, :, :16]), apply(images[:, :, :16]), atol=1e-5
    )
    got = make_sliding(model, 16)(variables, images)
    left = apply(images[:, :, :16])
    right = apply(images[:, :, 8:])
    wanted = np.concatenate(
        [left[:, :, :8], (left[:, :, 8:] + right[:, :, :8]) / 2, right[:, :, 8:]], axis=2
    )
    np.testing.assert_allclose(got, wanted, atol=1e-5)


@pytest.fixture
def camvid(tmp_path):
    """Eight pictures of 20 x 16 pixels whose left half is dark and of class 0, the rest bright and
    of class 1; a stripe is unlabelled.
    """
    root = tmp_path / "set"
    for split in ("train", "test"):
        for part in (split, f"{split}annot"):
            (root / part).mkdir(parents=True)
        for i in range(8):
            edge = int(RNG.integers(6, 14))
            label = (np.arange(20) >= edge).astype(np.uint8)[None].repeat(16, 0)
            image = np.clip(
                label[..., None] * 150 + RNG.integers(0, 60, (16, 20, 3)), 0, 255
            ).astype(np.uint8)
            label[:2] = 11
            Image.fromarray(image).save(root / split / f"{i}.jpg", quality=95)
            Image.fromarray(label).save(root / f"{split}annot" / f"{i}.png")
    return root


SMALL = [
    "--config.data.image_size=16",
    "--config.data.batch_size=4",
    "--config.data.threads=0",
    "--config.model.embed_dim=16",
    "--config.model.depth=3",
    "--config.model.lengths=(4,)",
    "--config.segmentation.labels=(0, 1)",
    "--config.segmentation.ignore=(11,)",
    "--config.segmentation.names=('dark', 'bright')",
    "--config.segmentation.height=16",
    "--config.segmentation.width=20",
]


def test_training_on_a_folder(camvid, tmp_path):
    """The command learns what is dark and what is bright; the table, the metrics and the picture
    are there; a resumed run has nothing left to do.
    """
    workdir = tmp_path / "run"
    options = [f"--config.data.source=pairs:{camvid}", *SMALL]
    options += [
        "--config.segmentation.decoder=conv",
        "--config.optimizer.epochs=30",
        "--config.checkpoints.every_epochs=15",
    ]
    output = run(command("train", "segment_digits", workdir, *options))
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    measured = [line for line in lines if "mean_iou" in line]
    assert [line["step"] for line in measured] == [30, 60]
    assert measured[-1]["mean_iou"]["all"] > 0.8
    assert measured[-1]["mean_iou"]["all"] == pytest.approx(
        np.mean(list(measured[-1]["by_class_all"].values()))
    )
    assert "mean intersection over union" in output
    assert "bright" in output
    picture = np.asarray(Image.open(workdir / "predictions.png"))
    assert picture.shape[1] > 800
    assert len(np.unique(picture.reshape(-1, picture.shape[-1]), axis=0)) > 50
    assert "mean intersection" in run(command("train", "segment_digits", workdir, *options))

    pictures = tmp_path / "pictures"
    (pictures / "below").mkdir(parents=True)
    Image.open(camvid / "test" / "0.jpg").resize((40, 32)).save(pictures / "below" / "a.png")
    Image.open(camvid / "test" / "1.jpg").crop((0, 0, 15, 12)).save(pictures / "b.png")
    (pictures / "c.png").write_bytes(b"no picture")
    told = run(command("infer", "infer", workdir, f"--config.data.source=images:{pictures}"))
    assert "2 maps" in told
    assert "c.png can't be read" in told
    large, small = (
        np.asarray(Image.open(workdir / "maps" / name)) for name in ("below/a.png", "b.png")
    )
    assert (large.shape, small.shape) == ((32, 40), (12, 15))
    bright = np.asarray(Image.open(pictures / "below" / "a.png").convert("L")) > 100
    assert (large == bright).mean() > 0.85

    # A map is kept as long as its picture is; then it is made again, and that is told.
    predict = command("infer", "infer", workdir, f"--config.data.source=images:{pictures}")
    kept = workdir / "maps" / "below" / "a.png"
    before = kept.stat().st_mtime_ns
    Image.open(camvid / "test" / "0.jpg").crop((0, 0, 14, 11)).save(pictures / "b.png")
    assert "1 map(s) that were there were of other pictures" in run(predict)
    assert kept.stat().st_mtime_ns == before
    assert np.asarray(Image.open(workdir / "maps" / "b.png")).shape == (11, 14)
    (workdir / "maps" / ".made.jsonl").unlink()
    assert "2 map(s) that were there" in run(predict)
    assert "were made again" not in run(predict)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--config.segmentation.labels=(0, 2)"], r"broken: .*annot.*holds 1"),
        (["--config.augment.mixup=0.5"], r"augment\.mixup to be 0, got 0\.5"),
        (["--config.model.lengths=(4, 2)"], r"model\.lengths"),
        (["--config.segmentation.decoder=liner"], "linear, mask, conv"),
        (["--config.segmentation.evaluation=slidng"], "whole or sliding"),
        (
            ["--config.segmentation.evaluation=sliding", "--config.segmentation.height=8"],
            "a window of 16 pixels",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_training(options, words, camvid, tmp_path):
    """One message by the field at fault, and nothing is written."""
    workdir = tmp_path / "run"
    small = [
        option for option in SMALL if option.split("=")[0] not in {o.split("=")[0] for o in options}
    ]
    argv = [
        "train",
        "--config",
        "configs/segment_digits.py",
        f"--workdir={workdir}",
        f"--config.data.source=pairs:{camvid}",
        *small,
        *options,
    ]
    with pytest.raises(UserError, match=words):
        train_command.main(argv)
    assert not workdir.exists()


def test_architectures_of_the_other_kind(tmp_path):
    """A classifier's architecture is refused for pixels, a segmenter's for images."""
    best = tmp_path / "best.json"
    for config, space, arch, words in (
        ("segment_digits", "pit", get("pit").to_json(get("pit").cheapest()), "no segmenter"),
        (
            "revit_digits",
            "seg-mini",
            get("seg-mini").to_json(get("seg-mini").cheapest()),
            "is a segmenter",
        ),
    ):
        best.write_text(json.dumps({"space": space, "arch": arch}))
        with pytest.raises(UserError, match=words):
            train_command.main(
                [
                    "train",
                    "--config",
                    f"configs/{config}.py",
                    f"--workdir={tmp_path / 'run'}",
                    f"--config.model.arch={best}",
                ]
            )
