"""Dask arrays and functions that have no way of their own for them."""

import numpy as np
import pytest

import sharedarray

dask_array = pytest.importorskip("dask.array")

REFUSING = {
    "cumsum": lambda a: sharedarray.cumsum(a),
    "median": lambda a: sharedarray.median(a),
    "unique": lambda a: sharedarray.unique(a),
    "searchsorted": lambda a: sharedarray.searchsorted(np.arange(9.0), a),
    "take": lambda a: sharedarray.take(a, [1, 2]),
    "bincount": lambda a: sharedarray.bincount(a),
    "partition": lambda a: sharedarray.partition(a, 2),
    "histogram": lambda a: sharedarray.histogram(a),
}


@pytest.mark.parametrize("name", REFUSING)
def test_what_would_compute_in_the_client_is_refused(name):
    a = dask_array.from_array(np.arange(9), chunks=3).map_blocks(
        lambda _: pytest.fail("computed"), meta=np.empty(0, int)
    )
    with pytest.raises(TypeError, match=r"dask\.array\.cumsum, or a\.compute"):
        REFUSING[name](a)


@pytest.mark.parametrize("name", ["sum", "mean", "max", "std", "any"])
def test_what_dask_has_itself_is_lazy(name):
    a = dask_array.from_array(np.arange(10.0), chunks=3)
    lazy = getattr(sharedarray, name)(a)
    assert isinstance(lazy, dask_array.Array)
    assert lazy.compute(scheduler="synchronous") == getattr(np, name)(np.arange(10.0))
