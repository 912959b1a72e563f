"""Keys of columns are in NumPy's order, and equal where NumPy finds elements equal."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.plan import Chunk
from sharedarray_ops.sort import sorting
from sharedarray_ops.sort.columns import (
    Column,
    Direction,
    Key,
    columns_of,
    is_sortable,
    leading,
    survey,
)
from tests.functions.wide_support import (
    ALL,
    WIDE,
    WIDE_DISTRIBUTIONS,
    descending_order,
    wide_sample,
)
from tests.ops.support import (
    UnorderedPool,
    assert_same_bits,
    canaries,
    each_pool,
    small_sizes,
    strided,
)

CODES = [name for name, dtype in ALL.items() if dtype.itemsize * 8 <= 512]


def key_of(a, order=(), *, descending=False):
    columns = columns_of(a, Direction(order, descending))
    return Key.of(columns, survey(columns, Chunk(0, a.size)))


def whole_keys(key, n):
    """Return the keys as Python integers, put together from pieces of 37 bits."""
    keys = [0] * n
    for shift in range(0, key.n_bits, 37):
        bits = np.empty(n, np.uint64)
        key.write(slice(0, n), min(shift + 37, key.n_bits), shift, bits)
        keys = [k | int(b) << shift for k, b in zip(keys, bits, strict=True)]
    return keys


def order_of(keys):
    return np.array(sorted(range(len(keys)), key=keys.__getitem__), np.intp)


@pytest.mark.parametrize("name", CODES)
def test_keys_are_in_the_order_of_the_elements(name):
    for distribution in ("few", "specials", "bits", "low_end", "sorted"):
        a = wide_sample(distribution, 150, name)
        key = key_of(a)
        keys = whole_keys(key, a.size)
        assert all(0 <= k < 1 << max(1, key.n_bits) for k in keys)
        assert_same_bits(order_of(keys), np.argsort(a, kind="stable"))


@pytest.mark.parametrize("name", [name for name in CODES if ALL[name].kind != "V"])
def test_descending_keys(name):
    for distribution in ("few", "specials", "bits"):
        a = wide_sample(distribution, 150, name)
        keys = whole_keys(key_of(a, descending=True), a.size)
        assert_same_bits(order_of(keys), descending_order(a))


@given(
    n=st.integers(1, 200),
    name=st.sampled_from(list(WIDE)),
    distribution=st.sampled_from(list(WIDE_DISTRIBUTIONS)),
    seed=st.integers(0, 1 << 20),
    data=st.data(),
)
def test_any_bits_of_a_key(n, name, distribution, seed, data):
    """A piece of the key is the same, from wherever it is taken and whatever `out` had."""
    a = wide_sample(distribution, n, name, seed)
    key = key_of(a)
    keys = whole_keys(key, n)
    shift = data.draw(st.integers(0, key.n_bits))
    top = data.draw(st.integers(shift, min(key.n_bits, shift + 64)))
    index = np.random.default_rng(seed).permutation(n)
    for where, expected in ((slice(0, n), keys), (index, [keys[i] for i in index])):
        with canaries(n, np.uint64) as out:
            key.write(where, top, shift, out)
            piece = [(k >> shift) & ((1 << (top - shift)) - 1) for k in expected]
            assert out.tolist() == piece


@given(
    n=st.integers(2, 200),
    name=st.sampled_from(list(WIDE)),
    distribution=st.sampled_from(list(WIDE_DISTRIBUTIONS)),
    seed=st.integers(0, 1 << 20),
    data=st.data(),
)
def test_neighbours_equal(n, name, distribution, seed, data):
    """Equal below a bit: what lies above may be looked at, where neighbours agree in it."""
    a = wide_sample(distribution, n, name, seed)
    key = key_of(a)
    order = np.argsort(a, kind="stable")
    keys = [whole_keys(key, n)[i] for i in order]
    expected = np.array([x == y for x, y in zip(keys[1:], keys[:-1], strict=True)])
    assert np.array_equal(key.neighbours_equal(order, key.n_bits), expected)
    top = data.draw(st.integers(0, key.n_bits))
    same_above = np.array([x >> top == y >> top for x, y in zip(keys[1:], keys[:-1], strict=True)])
    result = key.neighbours_equal(order, top)
    assert np.array_equal(result[same_above], expected[same_above])


def test_a_common_prefix_takes_no_bits():
    a = np.array([b"a long prefix " + bytes([65 + i % 26]) for i in range(100)])
    assert key_of(a).n_bits == 5
    b = np.array([f"prefix {i % 8}" for i in range(100)])
    assert key_of(b).n_bits == 3
    assert key_of(np.full(100, 1 + 2j)).n_bits == 0
    assert key_of(np.full(100, np.nan + 2j)).n_bits == 0
    assert key_of(np.zeros(100, WIDE["nested"])).n_bits == 0


def test_zeros_and_nan_are_one_value_each():
    signs = np.where(np.arange(40) % 2, 0.0, -0.0)
    nans = np.where(np.arange(40) % 2, np.nan, -np.nan)
    for code in ("f2", "f4", "f8", "g", ">f8", ">g"):
        assert key_of(signs.astype(code)).n_bits == 0
        assert key_of(nans.astype(code)).n_bits == 0
        assert key_of(np.append(nans, 1.0).astype(code)).n_bits == 1
    for code in ("c8", "c16", ">c16", "G"):
        a = np.zeros(40, code)
        a.real, a.imag = signs, -signs
        assert key_of(a).n_bits == 0


def test_order_says_which_fields_are_first():
    a = np.zeros(60, [("a", "u1"), ("b", "u1"), ("c", "u1")])
    rng = np.random.default_rng(0)
    for name in "abc":
        a[name] = rng.integers(0, 4, 60)
        a[name][:2] = 0, 3
    for order in ((), ("b",), ("c", "a"), ("c", "b", "a")):
        first = [*order, *(name for name in "abc" if name not in order)]
        keys = whole_keys(key_of(a, order), 60)
        expected = sum(a[name].astype(int) << 2 * (2 - i) for i, name in enumerate(first))
        assert keys == expected.tolist()


def test_columns_are_views():
    for name, dtype in WIDE.items():
        a = strided(np.zeros(20, dtype), 2)
        for column in columns_of(a):
            assert np.shares_memory(column.values, a) or not column.values.itemsize, name


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [
        *((dtype, True) for dtype in ALL.values()),
        ("O", False),
        (np.dtypes.StringDType(), False),
        ([("a", "i4"), ("b", "O")], False),
        ([("a", [("b", "O")])], False),
        ([("a", "O", 2)], False),
        ([("a", "i4", 2)], True),
        ([], True),
    ],
    ids=str,
)
def test_is_sortable(dtype, expected):
    assert is_sortable(np.dtype(dtype)) is expected


def test_leading_columns():
    """As many of the first ones as it takes, or all."""
    a = np.random.default_rng(0).integers(0, 256, (500, 32), "u1").view("S32")[:, 0]
    columns = columns_of(a)
    sample = np.arange(0, 500, 3)
    assert len(columns) == 4
    for n_bits, n_columns in ((1, 1), (63, 1), (65, 2), (128, 2), (200, 4), (10_000, 4)):
        assert leading(columns, sample, n_bits) == columns[:n_columns]
    constant = [Column(np.zeros(500, "i8")), *columns]
    assert leading(constant, sample, 60) == constant[:2]


def test_a_survey_of_the_first_columns_leaves_room_for_the_others():
    a = wide_sample("bits", 300, "S29")
    columns = columns_of(a)
    for n in range(len(columns) + 1):
        key = Key.of(columns, survey(columns[:n], Chunk(0, 300)))
        assert_same_bits(order_of(whole_keys(key, 300)), np.argsort(a, kind="stable"))


# argsort of elements and of columns, in place


@each_pool
@pytest.mark.parametrize("name", ["S16", "c8", "g", ">U3", "V9", "nested", "padded"])
def test_argsort_kernel(name, pool):
    with small_sizes():
        for distribution in ("few", "bits", "low_end", "outlier"):
            for n in (0, 1, 2, 65, 700):
                a = wide_sample(distribution, n, name)
                with canaries(n, np.intp) as out:
                    sorting.argsort(a, out, pool())
                    assert_same_bits(out, np.argsort(a, kind="stable"))


def test_argsort_of_columns():
    rng = np.random.default_rng(0)
    columns = [Column(rng.integers(0, 3, 800)), Column(rng.integers(-2, 2, 800).astype("f4"))]
    columns.append(Column(rng.integers(0, 5, 800), descending=True))
    expected = np.lexsort((-columns[2].values, columns[1].values, columns[0].values))
    with small_sizes(), canaries(800, np.intp) as out:
        sorting.argsort_columns(columns, out, UnorderedPool(3))
        assert_same_bits(out, expected)
