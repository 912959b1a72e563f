import contextvars
import threading

import numpy as np
import pytest

import sharedarray
from sharedarray import SharedArray
from sharedarray.functions import sorting
from sharedarray.functions.thresholds import is_numpy_only, numpy_only, pays
from sharedarray_ops.sort import sorting as ways
from tests.functions.ufunc_support import N, small_ufuncs


@pytest.fixture
def everywhere():
    yield
    numpy_only(False)


def test_default_and_blocks():
    assert is_numpy_only() is False
    with numpy_only():
        assert is_numpy_only() is True
        with numpy_only(False):
            assert is_numpy_only() is False
        assert is_numpy_only() is True
    assert is_numpy_only() is False


def test_block_ends_with_an_exception():
    with pytest.raises(KeyError), numpy_only():
        raise KeyError
    assert not is_numpy_only()


def test_process_and_block(everywhere):
    numpy_only()
    assert is_numpy_only() is True
    with numpy_only(False):
        assert is_numpy_only() is False
    assert is_numpy_only() is True
    numpy_only(0)
    assert is_numpy_only() is False


def test_one_object_for_several_blocks(everywhere):
    only = numpy_only()
    assert repr(only) == "numpy_only(True)"
    with only, only:
        assert is_numpy_only()
    with numpy_only(False):
        with only:
            assert is_numpy_only()
        assert not is_numpy_only()


def test_block_holds_in_its_context_only(everywhere):
    seen = []

    def look():
        seen.append(is_numpy_only())

    with numpy_only():
        context = contextvars.copy_context()
        for target in (look, lambda: context.run(look)):
            thread = threading.Thread(target=target, name="sharedarray-test")
            thread.start()
            thread.join()
    numpy_only()
    thread = threading.Thread(target=look, name="sharedarray-test")
    thread.start()
    thread.join()
    assert seen[-1] is True
    assert seen[1] is True
    if not getattr(__import__("sys").flags, "thread_inherit_context", False):
        assert seen[0] is False


def test_workers_have_the_setting():
    with numpy_only():
        for backend in ("thread", "process", "serial"):
            pool = sharedarray.MapReduce(backend, np=2)
            assert pool.map(lambda _: is_numpy_only(), range(2)) == [True] * 2


@pytest.mark.parametrize("size", [0, 9, 10, 11])
def test_what_pays(size):
    assert pays(size, 10) is (size >= 10)
    with numpy_only():
        assert not pays(size, 10)


def test_ufuncs_and_assignment_are_numpy_itself(monkeypatch):
    a = sharedarray.arange(float(N))
    with small_ufuncs(monkeypatch) as calls:
        with numpy_only():
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
    monkeypatch.setattr(ways, "LONG_SORT", 40)
    asked = []
    monkeypatch.setattr(
        sorting,
        "pool_for",
        lambda *args, real=sorting.pool_for, **kw: asked.append(1) or real(*args, **kw),
    )
    a = sharedarray.array(np.arange(100.0)[::-1])
    with numpy_only():
        assert type(np.sort(a)) is SharedArray
        assert not asked
    assert np.sort(a)[0] == 0
    assert asked
