"""Private memory of large results that is used again."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import cache, registry
from sharedarray.memory.cache import recycled
from tests.memory.support import in_child

N = 1 << 16


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(cache, "RESULT_MIN_NBYTES", 8 * N)
    cache.release_cache()
    yield
    cache.release_cache()


def made(n: int = N) -> np.ndarray:
    return recycled(np.empty(n))


def test_the_next_result_of_that_size_has_the_same_memory():
    a = made()
    address = registry.address_of(a)
    a[:] = 1
    del a
    b = made()
    assert registry.address_of(b) == address
    assert registry.address_of(made()) != address  # it is in use
    del b
    assert registry.address_of(made()) == address


def test_not_while_any_view_lives():
    a = made()
    address = registry.address_of(a)
    view = a[5:].reshape(-1, 1).view(np.int64)
    del a
    assert registry.address_of(made()) != address
    del view
    assert registry.address_of(made()) == address


@pytest.mark.parametrize("order", ["C", "F"])
def test_an_array_like_the_one_given(order):
    for _ in range(2):
        given = np.empty((256, 2, 256), "f4", order)
        result = recycled(given)
        assert type(result) is np.ndarray
        assert (result.shape, result.strides, result.dtype) == (
            given.shape,
            given.strides,
            given.dtype,
        )
        assert result.flags.writeable
        assert result.flags.aligned
        assert not registry.is_shared(result)
        assert not result.flags.owndata
        result[...] = 2
        assert (result == 2).all()
        del result


def test_smaller_ones_and_views_are_as_they_were():
    a = np.empty(N - 1)
    assert recycled(a) is a
    view = np.empty(2 * N)[::2]
    assert recycled(view) is view


def test_release_gives_the_pages_back():
    del_soon = made()
    assert not cache._kept
    del del_soon
    assert [memory.nbytes for memory in cache._kept] == [8 * N]
    sharedarray.release_cache()
    assert not cache._kept


def test_pages_and_segments_are_not_taken_for_each_other():
    a = sharedarray.empty(N)
    address = registry.address_of(a)
    del a
    result = made()
    assert registry.address_of(result) != address
    assert not registry.is_shared(result)
    del result
    assert registry.is_shared(sharedarray.empty(N))


def test_shared_memory_is_counted_with_it(monkeypatch):
    monkeypatch.setattr(cache.keep, "__defaults__", (cache._kept, lambda: 20 * N, 32))
    a, b, c = sharedarray.empty(N), made(), made()
    del a, b, c
    assert sum(memory.nbytes for memory in cache._kept) == 16 * N


def test_child_has_a_copy():
    a = made()
    a[:] = 1

    def change():
        a[:] = 2
        assert (a == 2).all()

    in_child(change)
    assert (a == 1).all()


def test_nothing_is_left_of_results_that_are_gone():
    cycle = [made()]
    cycle.append(cycle)
    pages = weakref.ref(cycle[0].base.base)
    del cycle
    gc.collect()
    assert len(cache._kept) == 1
    assert pages() is not None
    cache.release_cache()
    assert pages() is None


def test_results_of_ufuncs(monkeypatch):
    for sizes in ("functions.ufuncs.MIN_SIZE", "memory.protocols.LEAST"):
        monkeypatch.setattr(f"sharedarray.{sizes}", {np.exp: N, np.divmod: N})
    a = sharedarray.array(np.linspace(-1, 1, 1 << 18))
    with sharedarray.num_workers(2):
        for _ in range(3):
            result = np.exp(a)
            assert result.tobytes() == np.exp(np.asarray(a).copy()).tobytes()
            assert isinstance(result.base, cache._Room)
            quotient, rest = np.divmod(a, 0.25)
            assert not np.may_share_memory(quotient, rest)
            assert np.array_equal(quotient * 0.25 + rest, a)
            del result, quotient, rest
        out = np.empty(a.size)
        assert np.exp(a, out=out) is out
