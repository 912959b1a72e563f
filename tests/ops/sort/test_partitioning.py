import numpy as np
import pytest

from sharedarray import MapReduce, empty
from sharedarray_ops.sort import partitioning
from tests.ops.support import (
    RANKABLE,
    UnorderedPool,
    assert_same_bits,
    cases,
    each_pool,
    sample,
    unchanged,
)


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(partitioning, "BLOCK", 16)


def ascending(a):
    with np.errstate(all="ignore"):
        return np.sort(a, kind="stable")


def check_argpartition(a, ranks, pool):
    pivots = ascending(a)[ranks]
    out = empty(a.size, np.intp).view(np.ndarray)
    with unchanged(a):
        partitioning.write_partition(a, pivots, out, pool)
    assert np.array_equal(np.sort(out), np.arange(a.size))
    with np.errstate(all="ignore"):
        result = a[out]
        np.testing.assert_array_equal(result[ranks], pivots)
        for rank, start in zip([*ranks, a.size], [0, *ranks], strict=True):
            np.testing.assert_array_equal(
                ascending(result[start:rank]), ascending(a)[start:rank], strict=True
            )
    return out


@each_pool
@pytest.mark.parametrize("dtype", RANKABLE)
def test_argpartition(dtype, pool):
    for distribution, n in cases(pool, (1, 2, 127)):
        if n:
            check_argpartition(sample(distribution, n, dtype), sorted({n // 3, n - 1}), pool())


def test_argpartition_is_the_same_for_any_number_of_workers():
    a = sample("few", 1009, "f4")
    expected = check_argpartition(a, [300, 500, 700], UnorderedPool(1))
    for n_workers in (2, 3, 7):
        assert_same_bits(check_argpartition(a, [300, 500, 700], UnorderedPool(n_workers)), expected)


def test_argpartition_on_processes():
    check_argpartition(sample("nan_heavy", 1009, "f8"), [10, 50, 1000], MapReduce(np=3))


def test_argpartition_touches_its_output():
    out = np.empty(1009, np.intp)
    touched = []
    partitioning.write_partition(
        np.arange(1009),
        np.array([5]),
        out,
        UnorderedPool(3),
        lambda part: touched.append(part.size),
    )
    assert sum(touched) == 1009
