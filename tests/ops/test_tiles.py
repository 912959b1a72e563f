"""Tiles cover a box once, span the last axes, and are not larger than they may be."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.plan import tiles

SHAPES = st.lists(st.integers(0, 9), max_size=4).map(tuple)


def size_of(tile, shape):
    return int(np.prod([len(range(*s.indices(n))) for s, n in zip(tile, shape, strict=True)]))


@given(shape=SHAPES, max_size=st.integers(1, 300))
def test_every_element_is_in_one_tile(shape, max_size):
    counts = np.zeros(shape, int)
    for tile in tiles(shape, max_size):
        assert len(tile) == len(shape)
        counts[tile] += 1
    assert (counts == 1).all()


@given(shape=SHAPES, max_size=st.integers(1, 300))
def test_no_tile_is_empty_or_too_large(shape, max_size):
    for tile in tiles(shape, max_size):
        assert 1 <= size_of(tile, shape) <= max_size


@given(shape=SHAPES, max_size=st.integers(1, 300))
def test_tiles_are_ranges_of_the_box_in_c_order(shape, max_size):
    place = np.arange(np.prod(shape, dtype=int)).reshape(shape)
    found = [place[tile].reshape(-1) for tile in tiles(shape, max_size)]
    for part in found:
        assert (np.diff(part) == 1).all()
    assert np.array_equal(np.concatenate([np.empty(0, int), *found]), place.reshape(-1))


@given(shape=SHAPES.filter(lambda shape: 0 not in shape), max_size=st.integers(1, 300))
def test_there_are_not_many_more_than_it_takes(shape, max_size):
    """Tiles of one axis are full but for the last: two neighbours would be too large for one."""
    sizes = [size_of(tile, shape) for tile in tiles(shape, max_size)]
    cut = next((i for i in range(len(shape)) if np.prod(shape[i + 1 :]) <= max_size), len(shape))
    per_index = len(sizes) // max(1, int(np.prod(shape[:cut])))
    row = int(np.prod(shape[cut:]))
    unit = int(np.prod(shape[cut + 1 :]))
    assert per_index == (-(-row // (max_size // unit * unit)) if cut < len(shape) else 1)


@pytest.mark.parametrize(
    ("shape", "max_size", "n_tiles"),
    [
        ((), 1, 1),
        ((), 99, 1),
        ((5,), 5, 1),
        ((5,), 4, 2),
        ((5,), 1, 5),
        ((0,), 4, 0),
        ((3, 0), 4, 0),
        ((0, 3), 1, 0),
        ((3, 4), 12, 1),
        ((3, 4), 11, 2),
        ((3, 4), 4, 3),
        ((3, 4), 3, 6),
        ((2, 3, 4), 12, 2),
        ((2, 3, 4), 8, 4),
        ((1, 1, 7), 3, 3),
        ((7, 1, 1), 3, 3),
    ],
)
def test_numbers_of_tiles(shape, max_size, n_tiles):
    assert len(tiles(shape, max_size)) == n_tiles
