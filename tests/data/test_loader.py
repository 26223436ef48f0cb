"""Batches by step."""

import functools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.data import loader


def numbered(count):
    """A source whose images are their numbers."""
    return [{"image": np.full((2, 2, 3), i, np.uint8), "label": i} for i in range(count)]


def with_noise(element, rng):
    """An augmentation that shows which random numbers it got."""
    return {**element, "draw": rng.random()}


@functools.cache
def batches_of(seed, host, hosts):
    """Of one host; an epoch is seven batches and a half (Grain takes milliseconds to shuffle the
    place of one image among ten).
    """
    return loader.train_batches(
        numbered(60), with_noise, batch_size=8, seed=seed, host=host, hosts=hosts
    )


@given(hosts=st.sampled_from([1, 2, 4]), step=st.integers(0, 40), seed=st.integers(0, 3))
def test_a_step_sees_the_same_images_on_any_number_of_hosts(hosts, step, seed):
    """The hosts' parts put together are the one host's batch: images, order, and random numbers."""
    wanted = batches_of(seed, 0, 1)[step]
    parts = [batches_of(seed, host, hosts)[step] for host in range(hosts)]
    for key in wanted:
        np.testing.assert_array_equal(np.concatenate([part[key] for part in parts]), wanted[key])


def test_epochs_hold_every_image_once_and_differ():
    """Two epochs of 12 images in batches of 4: a permutation each, not the same; another seed gives
    another.
    """

    def order(seed):
        return np.concatenate(
            [
                loader.train_batches(numbered(12), with_noise, batch_size=4, seed=seed)[step][
                    "label"
                ]
                for step in range(6)
            ]
        )

    first, second = np.split(order(0), 2)
    assert sorted(first) == sorted(second) == list(range(12))
    assert (first != second).any()
    assert (order(0) != order(1)).any()


def test_going_on_from_a_step():
    """What threads prepare ahead from a step on is what random access gives."""
    batches = loader.train_batches(numbered(10), with_noise, batch_size=4, seed=1)
    ahead = loader.from_step(batches, 5, threads=2)
    for step in range(5, 12):
        got = next(ahead)
        wanted = batches[step]
        np.testing.assert_array_equal(got["label"], wanted["label"])
        np.testing.assert_array_equal(got["draw"], wanted["draw"])


@given(count=st.integers(1, 20), hosts=st.sampled_from([1, 2]))
def test_evaluation_sees_every_image_once(count, hosts):
    """Each image has weight 1 once over all hosts; batches are of one shape and as many on each
    host.
    """
    found = [
        list(
            loader.eval_batches(
                numbered(count), lambda e, rng: e, batch_size=4, host=h, hosts=hosts
            )
        )
        for h in range(hosts)
    ]
    assert len({len(batches) for batches in found}) == 1
    every = [batch for batches in found for batch in batches]
    assert {batch["image"].shape for batch in every} == {(4 // hosts, 2, 2, 3)}
    seen = np.concatenate([batch["label"][batch["weight"] == 1] for batch in every])
    assert sorted(seen) == list(range(count))
    assert {float(w) for batch in every for w in batch["weight"]} <= {0.0, 1.0}
