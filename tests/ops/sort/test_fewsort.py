"""Few numbers: every way that the sample may choose is right, whatever blocks and runs."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sharedarray_ops.sort import fewsort, packing
from sharedarray_ops.sort.fewsort import argsort_few
from tests.functions.wide_support import descending_order
from tests.ops.support import (
    DISTRIBUTIONS,
    RANKABLE,
    assert_same_bits,
    canaries,
    sample,
    strided,
    unaligned,
    unchanged,
)

SIZES = (1, 2, 3, 15, 16, 17, 31, 33, 127, 1009)


def check(a, *, descending=False):
    expected = descending_order(a) if descending else np.argsort(a, kind="stable")
    with canaries(a.size, np.uint64) as words, unchanged(a):
        argsort_few(a, words, descending=descending)
        assert_same_bits(words.view(np.intp), expected)


def numbers(distribution, n, dtype, seed=0):
    """Return what `sorting` hands in: bools as bytes."""
    a = sample(distribution, n, dtype, seed)
    return a.view(np.uint8) if a.dtype.kind == "b" else a


@pytest.fixture(params=[False, True], ids=["real sizes", "small sizes"], autouse=True)
def small(request, monkeypatch):
    if request.param:
        monkeypatch.setattr(fewsort, "BLOCK", 16)


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("dtype", RANKABLE)
def test_equals_numpy(dtype, descending):
    for distribution in DISTRIBUTIONS:
        for n in SIZES:
            check(numbers(distribution, n, dtype), descending=descending)


@given(
    n=st.integers(1, 3000),
    dtype=st.sampled_from(RANKABLE),
    distribution=st.sampled_from(list(DISTRIBUTIONS)),
    distinct=st.integers(0, 64),
    radix_bits=st.integers(1, 16),
    levels=st.integers(0, 64),
    descending=st.booleans(),
    seed=st.integers(0, 1 << 20),
)
def test_whatever_the_sample_says(
    n, dtype, distribution, distinct, radix_bits, levels, descending, seed
):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fewsort, "DISTINCT", distinct)
        patch.setattr(fewsort, "RADIX_BITS", radix_bits)
        patch.setattr(fewsort, "MAX_LEVELS", levels)
        check(numbers(distribution, n, dtype, seed), descending=descending)


@pytest.mark.parametrize("dtype", ["f8", "i4", ">i8"])
def test_layouts(dtype):
    a = sample("random", 700, dtype)
    for view in (strided(a, 3), strided(a, -1), unaligned(a)):
        check(view)


@pytest.mark.parametrize("n_clusters", [1, 2, 5])
def test_long_runs(n_clusters, monkeypatch):
    """Runs of more than a block, which lie far apart: each has a range of its own."""
    monkeypatch.setattr(fewsort, "BLOCK", 64)
    rng = np.random.default_rng(0)
    for spread in (1, 3, 1 << 10):
        a = rng.integers(0, spread, 2000) + (rng.integers(0, n_clusters, 2000) << 57)
        a[:2] = np.iinfo("i8").min, np.iinfo("i8").max
        check(a)
        check(a.astype(np.float64), descending=True)


def test_a_step_that_is_left_out_is_seen(monkeypatch):
    """The twin: without refinement, words that lost bits are not in order."""
    a = np.random.default_rng(0).integers(0, 100, 500) + (np.arange(500) % 2 << 60)
    check(a)
    monkeypatch.setattr(
        fewsort,
        "unpack",
        lambda key, words, chunk, field, *_: packing.unpack(
            key, words, chunk, field._replace(shift=0)
        ),
    )
    with pytest.raises(pytest.fail.Exception):
        check(a)


@pytest.mark.parametrize("n", [1 << 17, (1 << 19) - 1])
@pytest.mark.parametrize("distribution", ["random", "few", "equal", "cluster", "nan_heavy"])
def test_extra_memory(distribution, n, monkeypatch):
    monkeypatch.setattr(fewsort, "BLOCK", 1 << 16)
    a = sample(distribution, n, "f8")
    words = np.empty(n, np.uint64)
    tracemalloc.start()
    try:
        argsort_few(a, words)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    runs = 16 * n if distribution in ("cluster", "nan_heavy") else 0
    assert peak <= (4 << 20) + runs
