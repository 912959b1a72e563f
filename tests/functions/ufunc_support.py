from __future__ import annotations

import contextlib
import warnings

import numpy as np

import sharedarray
from sharedarray import SharedArray
from sharedarray.functions import assigning, ufuncs
from sharedarray.memory.registry import is_shared
from sharedarray_ops import elementwise
from sharedarray_ops import ufuncs as kernels
from tests.ops.support import assert_same_bits

LEAST = 64  # elements from which on small_ufuncs takes the parallel way
N = 1009


@contextlib.contextmanager
def small_ufuncs(monkeypatch):
    """Let a hundred elements take the parallel way, in many tiles; yield the list of its calls."""
    calls = []
    monkeypatch.setattr(ufuncs, "MIN_SIZE", dict.fromkeys(ufuncs.MIN_SIZE, LEAST))
    monkeypatch.setattr(ufuncs, "MIN_MIDDLE", LEAST)
    monkeypatch.setattr(assigning, "MIN_ASSIGN", 8 * LEAST)
    monkeypatch.setattr(assigning, "MIN_ASSIGN_MASK", LEAST)
    monkeypatch.setattr("sharedarray.memory.array._SMALL", 1)
    monkeypatch.setattr("sharedarray.memory.protocols.LEAST", dict.fromkeys(ufuncs.MIN_SIZE, 1))
    monkeypatch.setattr("sharedarray.memory.array._ASSIGNABLE", 1)
    monkeypatch.setattr(kernels, "ALIGN", 16)
    monkeypatch.setattr(kernels, "buffer_size", lambda: 16)
    monkeypatch.setattr(elementwise, "CHUNK", 16)
    for module in (ufuncs, assigning):

        def pool_for(*args, pool_for=module.pool_for, **kwargs):
            calls.append(args)
            return pool_for(*args, **kwargs)

        monkeypatch.setattr(module, "pool_for", pool_for)
    with sharedarray.num_workers(3):
        yield calls


def shared(a, axes=None):
    """Return a shared array of the values, dtype and strides of any array."""
    a = np.asarray(a)
    if a.dtype.hasobject:
        return a
    span = [(n - 1) * s for n, s in zip(a.shape, a.strides, strict=True)]
    low, high = sum(min(s, 0) for s in span), sum(max(s, 0) for s in span) + a.itemsize
    room = sharedarray.zeros(max(1, high - low) + 64, "u1")
    # The same place relative to a vector as NumPy's operand has.
    start = -low + (0 if a.flags.aligned else 1)
    view = np.ndarray.__new__(SharedArray, a.shape, a.dtype, room, start, a.strides)
    np.copyto(view.view(np.ndarray), a)
    return view


def noted(call):
    """Return what a call returned or raised, and its warnings with file and line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = call()
        except Exception as error:
            result = (type(error), str(error))
    return result, [(w.category, str(w.message), w.filename, w.lineno) for w in caught]


def assert_same(result, expected, *, strides=True):
    """Compare values by bits, dtype, shape, layout, and class: none but private arrays."""
    if isinstance(expected, tuple):
        assert type(result) is type(expected)
        assert len(result) == len(expected)
        for got, wanted in zip(result, expected, strict=True):
            assert_same(got, wanted, strides=strides)
        return
    assert type(result) is type(expected)
    if not isinstance(expected, np.ndarray):
        assert result == expected or (result != result and expected != expected)
        return
    assert not is_shared(result)
    if expected.dtype.char in "gG":  # with bytes between the numbers
        np.testing.assert_array_equal(result, expected, strict=True)
    else:
        assert_same_bits(result, expected)
    if strides:
        wanted = [s for s, n in zip(expected.strides, expected.shape, strict=True) if n > 1]
        assert [s for s, n in zip(result.strides, result.shape, strict=True) if n > 1] == wanted
        assert result.flags.owndata == expected.flags.owndata
