import contextvars
import operator
import threading

import numpy as np
import pytest

import sharedarray
from sharedarray import SharedArray
from sharedarray.functions import sorting
from sharedarray.functions.switch import Threshold, get_parallel, parallel, set_parallel
from tests.functions.ufunc_support import N, small_ufuncs


@pytest.fixture
def everywhere():
    yield
    set_parallel(True)


def test_default_and_blocks():
    assert get_parallel() is True
    with parallel(False):
        assert get_parallel() is False
        with parallel():
            assert get_parallel() is True
        assert get_parallel() is False
    assert get_parallel() is True


def test_block_ends_with_an_exception():
    with pytest.raises(KeyError), parallel(False):
        raise KeyError
    assert get_parallel()


def test_process_and_block(everywhere):
    set_parallel(False)
    assert get_parallel() is False
    with parallel(True):
        assert get_parallel() is True
    assert get_parallel() is False
    set_parallel(1)
    assert get_parallel() is True


def test_block_holds_in_its_context_only(everywhere):
    seen = []

    def look():
        seen.append(get_parallel())

    with parallel(False):
        context = contextvars.copy_context()
        for target in (look, lambda: context.run(look)):
            thread = threading.Thread(target=target, name="sharedarray-test")
            thread.start()
            thread.join()
    set_parallel(False)
    thread = threading.Thread(target=look, name="sharedarray-test")
    thread.start()
    thread.join()
    assert seen[-1] is False
    assert seen[1] is False
    if not getattr(__import__("sys").flags, "thread_inherit_context", False):
        assert seen[0] is True


def test_workers_have_the_setting():
    with parallel(False):
        for backend in ("thread", "process", "serial"):
            pool = sharedarray.MapReduce(backend, np=2)
            assert pool.map(lambda _: get_parallel(), range(2)) == [False] * 2


@pytest.mark.parametrize("size", [0, 9, 10, 11])
def test_threshold(size):
    at = Threshold(10)
    for op in (operator.lt, operator.le, operator.gt, operator.ge):
        assert op(size, at) == op(size, 10)
        assert op(at, size) == op(10, size)
    with parallel(False):
        assert size < at
        assert not size >= at
        assert not size > at
        assert at > size
        assert not at <= size
    assert (at, hash(at), at + 1) == (10, hash(10), 11)


def test_ufuncs_and_assignment_are_numpy_itself(monkeypatch):
    a = sharedarray.arange(float(N))
    with small_ufuncs(monkeypatch) as calls:
        with parallel(False):
            a += 1
            assert type(np.exp(-a)) is np.ndarray
            a[...] = 2
            a[np.arange(N) % 2 == 0] = 3
            a.fill(4)
            np.copyto(a, 5)
            assert not calls
            assert type(a) is SharedArray
        a += 1
        assert len(calls) == 1
    assert (np.asarray(a) == 6).all()


def test_functions_with_thresholds(monkeypatch):
    monkeypatch.setattr(sorting, "MIN_SORT", Threshold(40))
    asked = []
    monkeypatch.setattr(
        sorting,
        "pool_for",
        lambda *args, real=sorting.pool_for, **kw: asked.append(1) or real(*args, **kw),
    )
    a = sharedarray.array(np.arange(100.0)[::-1])
    with parallel(False):
        assert type(np.sort(a)) is SharedArray
        assert not asked
    assert np.sort(a)[0] == 0
    assert asked
