"""sort and argsort of dask arrays in this process: NumPy's stable ones, bit for bit."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray.cluster.dask_sort import node_pool
from sharedarray.functions import averages, extremes, sums, truth
from sharedarray.functions.sorting import argsort, sort

STRUCTURED = np.dtype([("a", "i1"), ("b", "f4")])
DTYPES = [
    *("?", "i1", ">u2", "i4", "u8", "f2", "f4", "f8", ">f8", "c8", "c16", "g"),
    *("M8[s]", "m8[us]", "S1", "S9", "U3", "V5", STRUCTURED),
]


def sample(n, dtype, n_values, seed):
    """Return values with many ties; of floats and times also NaN, zeros of both signs and NaT."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-n_values, n_values, n)
    if dtype.names:
        a = np.zeros(n, dtype)
        for name in dtype.names:
            a[name] = rng.integers(-3, 3, n)
        return a
    if dtype.kind in "fc":
        values = numbers.astype(dtype)
        values[rng.random(n) < 0.1] = np.nan
        values[rng.random(n) < 0.1] *= -1.0
        return values
    if dtype.kind in "mM":
        values = numbers.astype("i8").view(dtype.newbyteorder("="))
        values[rng.random(n) < 0.1] = "NaT"
        return values.astype(dtype)
    if dtype.kind == "V":
        return np.frombuffer(rng.integers(0, 2, n * dtype.itemsize, np.uint8).tobytes(), dtype)
    return (np.abs(numbers) % 128).astype(dtype)


def bits(a):
    """Return the bytes of the elements, without the padding of longdouble, which is anything."""
    return a.astype("f8").tobytes() if a.dtype.char == "g" else a.tobytes()


def computed(x):
    """Return what is computed, after a check of the chunk sizes that were known before."""
    blocks = [np.asarray(x.blocks[i].compute(scheduler="sync")) for i in range(x.numblocks[0])]
    assert tuple(block.size for block in blocks) == x.chunks[0]
    assert all(block.dtype == x.dtype for block in blocks)
    return x.compute(scheduler="sync")


@given(
    dtype=st.sampled_from([np.dtype(d) for d in DTYPES]),
    sizes=st.lists(st.sampled_from([0, 1, 2, 31, 500, 1009]), min_size=1, max_size=6),
    n_values=st.sampled_from([1, 3, 30_000]),
    seed=st.integers(0, 99),
)
def test_results_are_numpys_stable_ones(dtype, sizes, n_values, seed):
    a = sample(sum(sizes), dtype, n_values, seed)
    x = da.from_array(a, chunks=(tuple(sizes),))
    before = a.tobytes()

    values, index = sort(x), argsort(x)

    assert values.dtype == a.dtype
    assert len(values.chunks[0]) == len(index.chunks[0]) == len(sizes)
    assert bits(computed(values)) == bits(np.sort(a, kind="stable"))
    assert computed(index).tolist() == np.argsort(a, kind="stable").tolist()
    assert a.tobytes() == before


@pytest.mark.parametrize("n_values", [1, 2, 5, 1000])
def test_outputs_are_balanced_whatever_the_duplicates(n_values):
    a = np.random.default_rng(0).integers(0, n_values, 10_007)
    x = da.from_array(a, chunks=(9000, 500, 500, 7))

    sizes = sort(x).chunks[0]

    assert max(sizes) <= 1.2 * a.size / len(sizes)
    assert computed(argsort(x)).tolist() == np.argsort(a, kind="stable").tolist()


def test_order_and_descending():
    a = sample(5000, STRUCTURED, 3, 0)
    numbers = np.random.default_rng(1).integers(0, 9, 5000)
    by_b, down = argsort(da.from_array(a, chunks=999), order="b"), da.from_array(numbers, 999)

    assert computed(by_b).tolist() == np.argsort(a, order="b", kind="stable").tolist()
    assert computed(argsort(down, descending=True)).tolist() == (
        np.argsort(-numbers, kind="stable").tolist()
    )
    assert computed(sort(down, descending=True)).tolist() == sorted(numbers, reverse=True)


def test_the_whole_is_large_enough_to_be_cut_in_parts_and_rounds():
    a = np.random.default_rng(2).integers(0, 100_000, 1_000_003).astype("f8")
    a[::1000] = np.nan
    x = da.from_array(a, chunks=200_000)

    assert computed(argsort(x)).tolist() == np.argsort(a, kind="stable").tolist()
    with ThreadPoolExecutor(2) as pool:
        values = sort(x).compute(scheduler="threads", pool=pool)
    assert values.tobytes() == np.sort(a).tobytes()


def test_nothing_is_computed_before_it_is_asked_for():
    def fail(block):
        raise AssertionError(block)

    x = da.ones(100, chunks=10).map_blocks(fail, meta=np.empty(0))

    assert sort(x).chunks == argsort(x).chunks == x.chunks
    with pytest.raises(AssertionError):
        sort(x).compute(scheduler="sync")


def test_same_call_has_the_same_name_and_another_has_another():
    x = da.from_array(np.arange(10), chunks=5)

    assert sort(x).name == sort(x).name
    assert (
        len({sort(x).name, argsort(x).name, sort(x, descending=True).name, sort(x[1:]).name}) == 4
    )


X = da.from_array(np.arange(10), chunks=5)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: sort(X, 1), np.exceptions.AxisError, "axis 1"),
        (lambda: argsort(X, kind="fast"), ValueError, "kind"),
        (lambda: sort(X, order="a"), ValueError, "order"),
        (lambda: argsort(X, kind="stable", stable=True), ValueError, "kind"),
        (lambda: sort(da.ones((4, 4))), NotImplementedError, "ravel"),
        (lambda: argsort(da.ones((4, 4)), None), NotImplementedError, "ravel"),
        (lambda: sort(X[X > 3]), ValueError, "compute_chunk_sizes"),
        (lambda: sort(X.astype(object)), TypeError, "object"),
        (lambda: sort(da.ma.masked_equal(X, 3)), TypeError, "MaskedArray"),
        (lambda: argsort(X, out=np.empty(10, np.intp)), TypeError, "new indices"),
        (lambda: argsort(X, dtype="i4"), TypeError, "new indices"),
        (lambda: sort(X, pool=node_pool()), TypeError, "pool"),
    ],
)
def test_bad_input_is_refused_before_any_work(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    "function",
    [
        *(sums.sum, sums.prod, extremes.min, extremes.max, extremes.argmin),
        *(averages.mean, averages.std, averages.var, truth.any, truth.all),
    ],
)
def test_reductions_are_dasks_own(function):
    a = np.random.default_rng(3).random((30, 20))
    x = da.from_array(a, chunks=7)

    found = function(x, axis=1)

    assert isinstance(found, da.Array)
    np.testing.assert_allclose(
        found.compute(scheduler="sync"), getattr(np, function.__name__)(a, axis=1), rtol=1e-12
    )


def test_dask_is_imported_only_by_those_who_use_it():
    code = "import sys, sharedarray; sharedarray.sort([2, 1]); assert 'dask' not in sys.modules"

    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[2], check=True)
