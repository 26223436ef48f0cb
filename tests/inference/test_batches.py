"""Cutting what waits into batches."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vintk_jax.inference.batches import _CALL, next_batch


def cut(waiting, sizes):
    """All of the batches, one after the other."""
    found = []
    while waiting > 0:
        found.append(next_batch(waiting, sizes))
        waiting -= found[-1]
    return found


@given(
    waiting=st.integers(1, 40),
    sizes=st.sets(st.integers(1, 40), min_size=1, max_size=4).map(lambda some: tuple(sorted(some))),
)
def test_fewest_rows_of_all_cuts(waiting, sizes):
    """No other multiset of batches holds the images in fewer rows, calls counted; tried are all of
    up to three batches.
    """

    def spent(batches):
        return sum(batches) + _CALL * len(batches)

    mine = cut(waiting, sizes)
    assert sum(mine) - mine[-1] < waiting <= sum(mine)
    others = itertools.chain.from_iterable(
        itertools.combinations_with_replacement(sizes, count) for count in (1, 2, 3)
    )
    if waiting < sizes[-1]:
        assert spent(mine) <= min(
            (spent(batches) for batches in others if sum(batches) >= waiting), default=10**9
        )


@pytest.mark.parametrize(
    ("waiting", "wanted"),
    [
        (1, [1]),
        (5, [8]),
        (20, [8, 8, 8]),
        (30, [64]),
        (64, [64]),
        (70, [64, 8]),
        (200, [64, 64, 64, 8]),
    ],
)
def test_by_hand(waiting, wanted):
    """With the sizes that engines have of themselves."""
    assert cut(waiting, (1, 8, 64)) == wanted
