"""What a fold of the study is made of."""

import numpy as np

from benchmarks import weizmann_study as study


def test_a_fold(tmp_path):
    """Everyone has one part; who is tested on or trained on is there as recorded, labels and
    thresholds are altered copies of other people's clips.
    """
    lengths = np.repeat([20, 31], 5)
    subjects = np.tile(np.arange(5), 2)
    labels = np.repeat([0, 1], 5)
    frames = np.concatenate(
        [np.full((n, 16, 16, 3), 10 * (i % 5) + i // 5, np.uint8) for i, n in enumerate(lengths)]
    )
    np.savez(tmp_path / "set.npz", frames=frames, length=lengths, label=labels, subject=subjects)
    study.write_fold(tmp_path / "set.npz", 4, tmp_path / "fold.npz")
    with np.load(tmp_path / "fold.npz") as found:
        parts = found["part"]
        clips = np.split(found["frames"], np.cumsum(found["length"])[:-1])
    assert {part: int((parts == part).sum()) for part in range(4)} == {
        study.TRAIN: 4,
        study.LABELS: 2 * study.COPIES,
        study.THRESHOLDS: 2 * study.COPIES,
        study.TEST: 2,
    }
    person = np.array([clip[len(clip) // 2, 8, 8, 0] // 10 for clip in clips])
    people = {study.TEST: {4}, study.LABELS: {0}, study.THRESHOLDS: {1}, study.TRAIN: {2, 3}}
    assert {part: set(person[parts == part].tolist()) for part in range(4)} == people
    kept = np.array([len(clip) for clip in clips])
    assert set(kept[np.isin(parts, (study.TRAIN, study.TEST))]) == {20, 31}
    assert kept[parts == study.LABELS].min() >= 20 * (1 - 2 * study.CUT)
    assert len(set(kept[parts == study.LABELS])) > 4


def test_an_interval_for_a_share():
    """Wilson's for 33 of 36, by its formula."""
    z = 1.959964
    n = 36
    p = 33 / 36
    centre = p + z**2 / (2 * n)
    half = z * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    wanted = (np.array([centre - half, centre + half])) / (1 + z**2 / n)
    np.testing.assert_allclose(study.wilson(33, 36), wanted, atol=1e-5)
