"""Kernels that sort many lines: each line as NumPy does, and nothing beside it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray import MapReduce, empty
from sharedarray_ops.sort import lines, sorting
from sharedarray_ops.sort.columns import ASCENDING, Direction
from tests.functions.wide_support import ALL, assert_same_elements, descending_order, wide_sample
from tests.ops.support import (
    RANKABLE,
    RecordingPool,
    UnorderedPool,
    assert_same_bits,
    canaries,
    each_pool,
    small_sizes,
    sorted_by_default,
)

# Around the small tile of 50 elements, and the lines that are too short to be packed.
SHAPES = [(1, 1), (7, 2), (30, 3), (9, 4), (5, 25), (3, 49), (3, 50), (3, 51), (2, 120), (4, 3, 17)]
TYPICAL = ["?", "i1", "i8", "f2", "f4", "f8", ">f8", "M8[D]", "c8", "g", "S3", "V9", "numbers"]


def argsort_of(a, order=None):
    return np.argsort(a, axis=-1, order=order or None, kind="stable")


def sort_in_order(a, pool, direction=ASCENDING):
    """Sort a tile of lines by their argsort, numbers too; longer lines as `sorting` does."""
    if a.shape[-1] <= lines.TILE:
        lines.order_lines(a, pool, direction)
    else:
        sorting.sort(a, pool, direction=direction, stable=True)


def check_argsort(a, pool, direction=ASCENDING):
    expected = argsort_of(a, direction.fields)
    with small_sizes(), canaries(a.size, np.intp) as out:
        sorting.argsort(a, out.reshape(a.shape), pool, direction=direction)
        assert_same_bits(out.reshape(a.shape), expected)


@pytest.mark.parametrize("name", TYPICAL)
def test_argsort_lines(name):
    for shape in SHAPES:
        for distribution in ("few", "bits", "specials"):
            a = wide_sample(distribution, int(np.prod(shape)), name).reshape(shape)
            check_argsort(a, UnorderedPool(3))


@each_pool
def test_argsort_lines_of_each_pool(pool):
    for name in ("f8", "S3"):
        a = wide_sample("few", 1020, name)
        for shape in ((340, 3), (20, 51), (6, 170)):
            check_argsort(a.reshape(shape), pool())


@given(
    shape=st.lists(st.integers(0, 70), min_size=1, max_size=3).filter(lambda s: np.prod(s) < 4000),
    name=st.sampled_from(list(ALL)),
    distribution=st.sampled_from(["few", "bits", "specials", "sorted", "reversed"]),
    n_workers=st.integers(1, 9),
    seed=st.integers(0, 1 << 20),
    data=st.data(),
)
def test_any_lines(shape, name, distribution, n_workers, seed, data):
    c = wide_sample(distribution, int(np.prod(shape)), name, seed).reshape(shape)
    a = np.moveaxis(c, data.draw(st.integers(0, c.ndim - 1)), -1)
    names = a.dtype.names
    order = data.draw(st.sampled_from([(), *[(n,) for n in names]])) if names else ()
    pool = UnorderedPool(n_workers, seed)
    check_argsort(a, pool, Direction(order))
    in_place = a.copy(order="K")
    with small_sizes():
        sort_in_order(in_place, pool, Direction(order))
    expected = np.sort(a, axis=-1, order=list(order) or None, kind="stable")
    assert_same_elements(in_place, expected)


@pytest.mark.parametrize("name", [name for name in TYPICAL if ALL[name].kind != "V"])
def test_descending(name):
    for shape in SHAPES:
        a = wide_sample("few", int(np.prod(shape)), name).reshape(shape)
        expected = np.empty(shape, np.intp)
        for index in np.ndindex(shape[:-1]):
            expected[index] = descending_order(a[index])
        out = np.empty(shape, np.intp)
        with small_sizes():
            sorting.argsort(a, out, UnorderedPool(3), direction=Direction((), True))
            assert_same_bits(out, expected)
            in_place = a.copy()
            sort_in_order(in_place, UnorderedPool(3), Direction((), True))
        assert_same_elements(in_place, np.take_along_axis(a, expected, -1))


@pytest.mark.parametrize("name", RANKABLE)
@pytest.mark.parametrize("kind", [None, "stable"])
def test_sort_lines(name, kind):
    for shape in SHAPES:
        a = wide_sample("specials", int(np.prod(shape)), name).reshape(shape)
        in_place = a.copy()
        with small_sizes():
            lines.sort_lines(in_place, UnorderedPool(3), kind=kind)
        if kind:
            assert_same_bits(in_place, np.sort(a, axis=-1, kind="stable"))
        else:
            for line, found in zip(
                a.reshape(-1, shape[-1]), in_place.reshape(-1, shape[-1]), strict=True
            ):
                with np.errstate(invalid="ignore"):
                    np.testing.assert_array_equal(found, sorted_by_default(line))


@pytest.mark.parametrize("name", ["f8", "S3", "numbers"])
def test_other_layouts_and_nothing_beside(name):
    room = wide_sample("bits", 20 * 9 * 60, name).reshape(20, 9, 60)
    for index in (np.s_[2:18:2, ::-1, 5:55], np.s_[::-1, 1:8, ::7], np.s_[5, :, :]):
        for axis in range(room[index].ndim):
            whole = room.copy()
            view = np.moveaxis(whole[index], axis, -1)
            expected = room.copy()
            expected[index] = np.sort(room[index], axis, kind="stable")
            out = np.full((20, 9, 60), -1)
            target = np.moveaxis(out[index], axis, -1)
            with small_sizes():
                sorting.argsort(view, target, UnorderedPool(3))
                sort_in_order(view, UnorderedPool(3))
            assert_same_bits(target, argsort_of(np.moveaxis(room[index], axis, -1)))
            assert np.count_nonzero(out == -1) == out.size - target.size
            assert_same_elements(whole, expected)


def test_nothing_to_do():
    for shape in ((0, 5), (5, 0), (2, 0, 3), (0,)):
        a, out = np.zeros(shape), np.zeros(shape, np.intp)
        lines.argsort_lines(a, out, UnorderedPool(3))
        lines.sort_lines(a, UnorderedPool(3))
        lines.order_lines(a, UnorderedPool(3))


def test_ties_of_one_line_do_not_reach_into_the_next():
    """Lines that end and begin with the same value, of keys too wide for their words."""
    a = np.array([[b"y" * 30 + c * 2 for c in (b"a", b"b")] * 3] * 40)
    a[:, ::2] = a[:, :1]
    check_argsort(a, UnorderedPool(2))
    wide = np.random.default_rng(0).integers(0, 2, (60, 9)) * (1 << 62) + np.arange(60)[:, None]
    wide[:, 4] = wide[:, 0]
    for dtype in ("i8", "f8"):
        check_argsort(wide.view("f8") if dtype == "f8" else wide, UnorderedPool(2))


def test_with_the_real_sizes():
    rng = np.random.default_rng(0)
    for shape in ((9000, 7), (9000, 8), (300, 1000), (2, lines.TILE), (2, lines.TILE + 1)):
        for a in (rng.standard_normal(shape), rng.integers(0, 5, shape).astype("S9")):
            out = np.empty(shape, np.intp)
            pool = RecordingPool(2)
            sorting.argsort(a, out, pool)
            assert_same_bits(out, argsort_of(a))
            assert sum(pool.n_items) >= 2 - (a.size <= lines.TILE)


@each_pool
def test_apply_along(pool):
    a = np.random.default_rng(0).random((5, 23, 3))
    for axis in (0, 1, 2):
        for cut in {0, 1, 2} - {axis}:
            out_axis = cut - (axis < cut)
            out = empty((5, 23, 3)[:axis] + (5, 23, 3)[axis + 1 :])
            lines.apply_along(lambda x, axis=axis: x.max(axis), a, cut, out, out_axis, pool())
            assert_same_bits(out, a.max(axis))


def test_apply_along_on_processes():
    a = np.random.default_rng(0).random((5, 23))
    out = empty((5, 23))
    lines.apply_along(lambda x: np.sort(x, 0), a, 1, out, 1, MapReduce(np=3))
    assert_same_bits(out, np.sort(a, 0))
