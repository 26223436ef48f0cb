"""How a batch is cut on a CPU: by what its operations put out, and as the run was begun."""

import json

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax import pieces
from vintk_jax.models.passes import bytes_a_sample
from vintk_jax.models.vit import ViT
from vintk_jax.train import _as_begun
from vintk_jax.workdir.config_claims import claim_workdir


def test_bytes_are_those_of_all_outputs():
    """By hand: a product and a sum, within a loop as often as it runs."""
    x = jax.ShapeDtypeStruct((5, 3), jnp.float32)

    def once(x):
        return jnp.exp(x @ jnp.ones((3, 4))).reshape(-1).sum()

    def looped(x):
        return jax.lax.scan(lambda total, _: (total + 1, None), x, None, length=7)[0]

    found = pieces.bytes_of(once, x)
    assert found == 4 * (5 * 4 + 5 * 4 + 1)  # the product, its exponentials, the sum
    assert pieces.bytes_of(looped, x) == 7 * 4 * 5 * 3


def test_an_image_more_costs_the_same_at_any_number():
    """Two lengths cost more than one, and nothing is drawn."""
    model = ViT(8, (2, 2), (12, 12), 4, 3, patch_size=4, native_grid=(4, 4))
    one = bytes_a_sample(model, ((4, 4),), (16, 16, 3))
    both = bytes_a_sample(model, ((4, 4), (2, 2)), (16, 16, 3))
    assert 0 < one < both
    assert one % 4 == 0


@given(
    batch=st.integers(1, 300),
    each=st.integers(0, 10**9),
    cache=st.integers(2**15, 2**28),
    devices=st.integers(1, 3),
)
def test_the_fewest_pieces_that_fit(batch, each, cache, devices):
    """One where the whole is small enough; else of equal size, of one image if more don't fit. All
    devices' pieces share the cache.
    """
    count = pieces.pieces_for(batch, each, cache, devices)
    whole, piece = (24, 16) if devices == 1 else (6, 6)
    size = batch // count
    assert count * size == batch
    if batch * devices * each <= whole * cache:
        assert count == 1
        return
    assert size == 1 or size * devices * each <= piece * cache
    larger = [n for n in range(1, count) if batch % n == 0]
    assert all(batch // n * devices * each > piece * cache for n in larger)


def test_the_choice_for_models_that_were_measured():
    """benchmarks/piece_sizes.py, MiB an image and 32 MiB of cache: the fastest, or within 1%."""
    mib = 2**20
    measured = {(64, 3.1): 1, (128, 39.3): 16, (64, 34.9): 8, (64, 11.7): 1, (16, 160.4): 8}
    for (batch, each), wanted in measured.items():
        assert pieces.pieces_for(batch, int(each * mib), 32 * mib) == wanted


def test_the_choice_for_models_that_two_devices_share():
    """As above, within 11%: images of each device, MiB an image."""
    mib = 2**20
    measured = {
        (32, 2.9): 1,
        (32, 4.6): 2,
        (32, 11.0): 4,
        (64, 9.9): 8,
        (64, 37.3): 32,
        (32, 34.1): 16,
    }
    for (batch, each), wanted in measured.items():
        assert pieces.pieces_for(batch, int(each * mib), 32 * mib, devices=2) == wanted


@pytest.mark.parametrize(
    ("batch", "devices", "wanted"), [(64, 2, 2), (64, 6, 4), (96, 6, 6), (15, 2, 1), (4, 4, 1)]
)
def test_devices_that_share_a_batch(batch, devices, wanted):
    """The most that cut it evenly, into eight samples at least; one where it is little work."""
    assert pieces.devices_for(batch, 2**24, 2**20, devices) == wanted
    assert pieces.devices_for(batch, 2**14, 2**20, devices) == 1


def test_this_machine_has_a_cache():
    """Of a size that a cache may have."""
    assert 2**18 <= pieces.cache_bytes() <= 2**34


def test_a_run_goes_on_as_it_was_begun(tmp_path):
    """In the pieces and on the CPU devices of its first start, also one from before these were
    chosen; what is asked for stays.
    """

    def config(accumulate, devices):
        sections = {"optimizer": {"accumulate": accumulate}, "mesh": {"cpu_devices": devices}}
        return ml_collections.ConfigDict({**sections, "seed": 0})

    def begun(asked):
        own = config(asked, asked)
        _as_begun(own, tmp_path)
        return own.optimizer.accumulate, own.mesh.cpu_devices

    path = tmp_path / "train.config.json"
    assert begun(0) == (0, 0)
    assert begun(2) == (2, 2)
    claim_workdir(tmp_path, "train", config(8, 4), ())
    assert begun(0) == (8, 4)
    assert begun(2) == (2, 2)
    kept = json.loads(path.read_text())
    assert (kept["optimizer.accumulate"], kept["mesh.cpu_devices"]) == (8, 4)
    del kept["mesh.cpu_devices"]
    path.write_text(json.dumps(kept))
    assert begun(0) == (8, 1)


def test_samples_in_pieces_are_answered_in_their_order(monkeypatch):
    """As the whole is, each by itself, whatever is put out; an empty batch too."""
    shapes = []

    def run(samples):
        shapes.append(samples.shape)
        return {"double": 2 * samples, "sum": samples.sum(axis=1)}

    def each():
        return 4 * 2**20

    samples = jnp.arange(24.0).reshape(12, 2)
    monkeypatch.setattr(pieces, "cache_bytes", lambda: 2**20)
    found = pieces.in_pieces(run, samples, each)  # 4 fit, 12 don't
    assert shapes == [(4, 2)]
    np.testing.assert_array_equal(found["double"], 2 * samples)
    np.testing.assert_array_equal(found["sum"], samples.sum(axis=1))
    assert pieces.in_pieces(run, samples[:0], each)["sum"].shape == (0,)
    assert pieces.in_pieces(run, samples[:3], each)["sum"].shape == (3,)
    assert shapes[1:] == [(0, 2), (3, 2)]
