"""Cutting images that wait into batches of the few sizes that there are programs for."""

import functools

_CALL = 16  # rows


def next_batch(waiting: int, sizes: tuple[int, ...]) -> int:
    """The size of the first of the batches that so many images are best cut into, the last one
    filled up.

    Best are the fewest rows, where a call counts as `_CALL` more (our choice: what starting a
    program and its small operations cost, by measurements of small models on a CPU).

    Args:
        sizes: that there are programs for, ascending.
    """
    if waiting >= sizes[-1]:
        return sizes[-1]
    return -_cuts(waiting, sizes)[1]


def sizes_of_all(count: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes of batches that so many images are cut into when none is waited for."""
    found = set()
    while count > 0:
        size = next_batch(count, sizes)
        found.add(size)
        count -= size
    return tuple(sorted(found))


def wasted(waiting: int, sizes: tuple[int, ...]) -> float:
    """Rows, with what calls count as, that batches of so many images take more than their share of
    full ones.

    Args:
        waiting: the largest size at most.
        sizes: as for `next_batch`.
    """
    return _cuts(waiting, sizes)[0] - waiting * (1 + _CALL / sizes[-1])


@functools.lru_cache(maxsize=65536)
def _cuts(waiting: int, sizes: tuple[int, ...]) -> tuple[int, int]:
    """Rows with calls of the best cut of so many images, and minus the size of its first batch."""
    # of no images, one, ...: rows with calls, and the first batch, the larger where it makes no
    # difference
    fewest = [(0, 0)]
    for count in range(1, waiting + 1):
        fewest.append(
            min((size + _CALL + fewest[max(count - size, 0)][0], -size) for size in sizes)
        )
    return fewest[waiting]
