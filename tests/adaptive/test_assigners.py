"""Labels, assigners, how they learn, and how they are kept."""

import dataclasses

import jax
import numpy as np
import pytest
from damage import change_a_number
from hypothesis import given
from hypothesis.extra import numpy as hnp

from vintk_jax.adaptive import assigner_files, assigner_networks, calibration, length_labels
from vintk_jax.adaptive.answers import Answers
from vintk_jax.adaptive.assigner_kinds import make_assigner
from vintk_jax.adaptive.budget_choice import Point
from vintk_jax.adaptive.calibration import Calibration, chances_of, cross_fitted_chances, fitted
from vintk_jax.adaptive.feature_assigner import FeatureAssigner
from vintk_jax.adaptive.fitting import Fit, fit_assigner
from vintk_jax.errors import UserError
from vintk_jax.inference.plans import Plans

HOW = Fit(
    none_right="shortest",
    target="smallest",
    epochs=30.0,
    batch_size=32,
    learning_rate=1e-2,
    weight_decay=0.01,
    cost_weight=0.0,
)
COSTS = (0.25, 0.5, 1.0)
RNG = np.random.default_rng(0)


@given(right=hnp.arrays(bool, (20, 3)))
def test_smallest_right_length(right):
    """By going through the lengths; the choices for images that none is right about."""
    by_hand = [next((i for i, value in enumerate(row) if value), None) for row in right]
    for none_right, label, weight in (("shortest", 0, 1.0), ("longest", 2, 1.0), ("drop", 0, 0.0)):
        got, weights = length_labels.smallest_right(right, none_right)
        assert got.tolist() == [label if i is None else i for i in by_hand]
        assert weights.tolist() == [weight if i is None else 1.0 for i in by_hand]
    shares = length_labels.distribution(right, "drop", ("a", "b", "c"))
    known = [i for i in by_hand if i is not None]
    assert shares["none"] == pytest.approx(1 - len(known) / 20)
    if known:
        assert [shares[name] for name in "abc"] == pytest.approx(
            [known.count(i) / len(known) for i in range(3)]
        )
    with pytest.raises(UserError, match="got 'middle'"):
        length_labels.smallest_right(right, "middle")


def separable(count=600):
    """Features whose first number says which length is the first right one; a fifth of the images
    none is right about.
    """
    first = RNG.integers(0, 3, count)
    right = np.arange(3) >= first[:, None]
    right[: count // 5] = False
    features = RNG.standard_normal((count, 6)).astype(np.float32)
    features[:, 0] = 3.0 * first - 3
    return features, right, first


@pytest.mark.parametrize(
    ("target", "again"), [("smallest", True), ("each", False)], ids=assigner_networks.TARGETS
)
def test_an_assigner_learns_chances(target, again):
    """One from the first right length on, nothing below it: what the images are made by, for new
    ones too; the same parameters from the same seed.
    """
    features, right, _ = separable()
    module = assigner_networks.make("shared", 3, 16, 8)
    how = dataclasses.replace(HOW, target=target, none_right="drop")
    params, losses = fit_assigner(module, features, right, COSTS, how, 0)
    assert losses[-20:].mean() < 0.75 * losses[:5].mean()
    new, _, first = separable(300)

    @jax.jit
    def chances(params, features):
        return assigner_networks.chances(module.apply(params, features), target)

    # Images that none is right about are left out.
    wanted = np.where(np.arange(3) >= first[:, None], 1.0, 0.0)
    assert np.abs(np.asarray(chances(params, new)) - wanted).mean() < 0.12
    if again:
        same, _ = fit_assigner(module, features, right, COSTS, how, 0)
        jax.tree.map(np.testing.assert_array_equal, params, same)


def test_the_cost_term_leans_to_cheaper_lengths():
    """Where features say nothing: the expected cost under the assigner's own probabilities
    falls.
    """
    features, right, _ = separable()
    module = assigner_networks.make("shared", 3, 16, 8)

    @jax.jit
    def probabilities(params, features):
        return jax.nn.softmax(module.apply(params, features))

    def expected(cost_weight):
        how = dataclasses.replace(HOW, cost_weight=cost_weight)
        params, _ = fit_assigner(module, 0 * features, right, COSTS, how, 0)
        return float(np.mean(np.asarray(probabilities(params, 0 * features)) @ np.array(COSTS)))

    assert expected(2.0) < expected(0.0) - 0.05


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": 0.0}, "tla.epochs=0.0"),
        ({"batch_size": 1000}, "batch of 1000"),
        ({"target": "best"}, "got 'best'"),
        ({"learning_rate": 1e38}, "Lower tla"),
    ],
)
def test_fits_that_cannot_be(changed, words):
    """One message each."""
    features, right, _ = separable(100)
    with pytest.raises(UserError, match=words):
        fit_assigner(
            assigner_networks.make("shared", 3, 8, 8),
            features,
            right,
            COSTS,
            dataclasses.replace(HOW, **changed),
            0,
        )


@pytest.mark.parametrize(
    ("kind", "width", "thumbnail", "words"),
    [
        ("shard", 8, 8, "shared"),
        ("cnn", 7, 16, "tla.width=7"),
        ("vit", 8, 10, "tla.thumbnail=10"),
        ("confidence", 8, 8, "classes for tla.kind=confidence, got 0"),
    ],
)
def test_assigners_that_cannot_be(kind, width, thumbnail, words):
    """One message each, with what was meant."""
    with pytest.raises(UserError, match=words):
        assigner_networks.make(kind, 3, width, thumbnail)


@pytest.mark.parametrize("kind", assigner_networks.KINDS)
def test_every_kind_gives_a_number_a_length(kind, variables_for):
    """From what `example` shows."""
    module = assigner_networks.make(kind, 3, 8, 16, classes=4)
    seen = assigner_networks.example(module, 12, 16)
    logits = jax.jit(module.apply)(variables_for(module, seen), np.repeat(seen, 2, axis=0))
    assert logits.shape == (2, 3)
    assert assigner_networks.reads_features(module) == (kind in ("shared", "confidence"))


def test_a_confidence_head_reads_the_highest_log_probability_alone(variables_for):
    """Whatever else the features say, at more classes than are seen and at fewer."""
    for classes, sure in ((4, 4), (100, 32)):
        module = assigner_networks.make("confidence", 3, 8, 8, classes)
        features = RNG.standard_normal((50, 6 + sure)).astype(np.float32)
        ordered = -np.sort(RNG.exponential(size=(50, sure))).astype(np.float32)
        features[:, 6:] = ordered
        variables = variables_for(module, assigner_networks.example(module, 6 + sure, 8), seed=1)
        apply = jax.jit(module.apply)
        logits = np.asarray(apply(variables, features))
        others = features.copy()
        others[:, :6] += 1
        others[:, 7:] -= 1
        np.testing.assert_array_equal(apply(variables, others), logits)
        others[:, 6] -= 0.1
        assert (np.asarray(apply(variables, others)) != logits).any(axis=1).all()
        features[:, 6] = 0  # quite sure
        assert np.isfinite(apply(variables, features)).all()


def answers(count=200):
    """Answers of a model that is right as `separable` says."""
    features, right, _ = separable(count)
    probabilities = np.where(right[..., None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32)
    both = np.stack([features, features[:, ::-1]], axis=1)  # of the two shorter lengths
    return Answers(
        ("1", "4", "16"),
        np.zeros(count, int),
        probabilities,
        np.zeros((count, 8, 8, 3), np.uint8),
        both,
    )


def test_answers_add_up_and_say_who_is_right():
    """Two parts make the whole; other lengths don't add."""
    one = answers()
    two = one + one
    assert len(two.labels) == 400
    np.testing.assert_array_equal(two.right[200:], one.right)
    with pytest.raises(TypeError):
        one + dataclasses.replace(one, names=("1", "4", "64"))


def test_cross_fitted_chances_know_nothing_of_the_image_they_are_for(monkeypatch):
    """With labels that are drawn at random, an assigner that has seen them remembers; a crossed one
    can't: at two looks, by halves instead of fifths.
    """
    monkeypatch.setattr(calibration, "FOLDS", 2)
    right = RNG.random((200, 3)) < 0.5
    made = dataclasses.replace(
        answers(),
        probabilities=np.where(right[..., None], [0.9, 0.1], [0.2, 0.8]).astype(np.float32),
        features=RNG.standard_normal((200, 2, 40)).astype(np.float32),
    )
    bare = make_assigner("shared", 64, "each", 8, 0.0, COSTS)
    how = dataclasses.replace(HOW, target="each", epochs=60.0)
    seen = chances_of(fitted(bare, made, how, 0, 1)[0], made)
    crossed = cross_fitted_chances(bare, made, how, 0, 2)
    assert crossed.shape == (200, 2, 3)

    def agreement(chances):
        wanted = np.repeat(made.right[:, None], chances.shape[1], axis=1)
        return np.corrcoef(chances.ravel(), wanted.ravel())[0, 1]

    assert agreement(seen) > 0.8
    assert abs(agreement(crossed)) < 0.2


@pytest.fixture
def kept(tmp_path, variables_for):
    """An assigner on disk, and what was kept."""
    bare = make_assigner("shared", 8, "smallest", 8, 0.3, COSTS)
    example = assigner_networks.example(bare.module, 6, 8)
    params = tuple(variables_for(bare.module, example, seed=stage) for stage in range(2))
    assigner = dataclasses.replace(bare, params=params)
    points = Calibration(
        200,
        0.8,
        [Point(0.1, 0.79, 0.5, 0.2, (0.5, 0.3, 0.2), 1)],
        [Point(0.7, 0.78, 0.6, 0.1, (1.0, 0.0, 0.0))],
    )
    tla = {"kind": "shared", "width": 8, "thumbnail": 8, "target": "smallest", "keep": 0.3}
    assigner_files.save(
        tmp_path,
        assigner,
        points,
        {"model": "abc", "names": ("1", "4", "16"), "features": 6, "looks": 2, "tla": tla},
    )
    return tmp_path, assigner, points


def test_an_assigner_comes_back_as_it_was(kept):
    """Weights, costs, calibration."""
    folder, assigner, points = kept
    got, read = assigner_files.read(folder, "abc")
    jax.tree.map(np.testing.assert_array_equal, got.params, assigner.params)
    assert dataclasses.replace(got, params=()) == dataclasses.replace(assigner, params=())
    assert read == points
    with pytest.raises(UserError, match="belongs to weights abc; the checkpoint has xyz"):
        assigner_files.read(folder, "xyz")


def spoil_record(folder):
    """Half of it."""
    path = folder / assigner_files.RECORD
    path.write_text(path.read_text()[:100])


def spoil_weights(folder):
    """One number of them."""
    change_a_number(folder / "assigner")


@pytest.mark.parametrize(
    ("spoil", "words"), [(spoil_record, "can't be read"), (spoil_weights, "corrupt")]
)
def test_a_spoilt_assigner_is_refused(kept, spoil, words):
    """Saying which command makes it again."""
    spoil(kept[0])
    with pytest.raises(UserError, match=rf"{words}.*vintk_jax\.assign"):
        assigner_files.read(kept[0], "abc")


def test_no_assigner(tmp_path):
    """Says which command makes one."""
    with pytest.raises(UserError, match=r"There is no .*vintk_jax\.assign"):
        assigner_files.read(tmp_path, "abc")


class FakePlans(Plans):
    """What calibration asks of plans: lengths of 1, 2 and 4."""

    def __init__(self):
        self.multiply_adds = {"1": 1.0, "4": 2.0, "16": 4.0}
        self.begins_at = [0, 1, 2]


class FakeAssigner(FeatureAssigner):
    """A stage costs 0.1."""

    def multiply_adds(self, plans):
        """Of a stage."""
        return 0.1


def test_calibration_knows_every_start():
    """The curve holds the longest length alone, whose drop is none; from a start on, nobody is
    shorter; with true chances, cheaper than that.
    """
    made = answers(300)
    module = assigner_networks.make("shared", 3, 8, 8)
    assigner = FakeAssigner(module, ({}, {}), "smallest", 8, 0.0, COSTS)
    true = np.repeat(made.right[:, None].astype(np.float32), 2, axis=1)
    found = Calibration.of(made, true, assigner, FakePlans())
    assert found.full == made.right[:, 2].mean()
    longest = [point for point in found.assigned if point.start == 2]
    assert [(point.accuracy, point.cost, point.error, point.mix) for point in longest] == [
        (found.full, 1.0, 0.0, (0.0, 0.0, 1.0))
    ]
    for point in found.assigned:
        assert not any(point.mix[: point.start])
    best = found.choose("assigned", 0.0, 1.0, 0.9)
    assert best.accuracy == found.full
    assert best.cost < 0.8
    # An image first right at 4 tokens: the shortest pass with its look, then the second with its
    # own.
    assert min(point.cost for point in found.assigned) == pytest.approx(1.1 / 4)
