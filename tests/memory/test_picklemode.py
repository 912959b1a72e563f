"""By reference or by value: what users set, and what pickles hold then."""

from __future__ import annotations

import contextvars
import copy
import io
import os
import pickle
import sys
import threading

import numpy as np
import pytest

import sharedarray
from sharedarray import config, picklemode
from sharedarray.memory.array import SharedArray, from_data
from sharedarray.memory.registry import is_shared
from sharedarray.picklemode import pickling
from tests.memory.support import assert_same_memory, run_python
from tests.memory.test_pickling import DTYPES, PROTOCOLS, filled_array

BY_DEFAULT = ("reference", "default")


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv(picklemode.VARIABLE, raising=False)
    monkeypatch.setattr(picklemode, "_process", None)
    picklemode._from_environment.cache_clear()
    yield
    picklemode._from_environment.cache_clear()


def in_thread(function):
    thread = threading.Thread(target=function, name="sharedarray-test")
    thread.start()
    thread.join()


# the setting


def test_default_and_blocks():
    assert not picklemode.is_by_value()
    with pickling("value"):
        assert picklemode.is_by_value()
        with pickling("reference"):
            assert not picklemode.is_by_value()
        assert picklemode.is_by_value()
    assert picklemode.setting() == BY_DEFAULT


def test_block_ends_with_an_exception():
    with pytest.raises(KeyError), pickling("value"):
        raise KeyError
    assert picklemode.setting() == BY_DEFAULT


def test_call_sets_the_process_and_a_block_wins_over_it():
    assert repr(pickling("value")) == "pickling('value')"
    assert picklemode.setting() == ("value", "pickling")
    with pickling("reference"):
        assert picklemode.setting() == ("reference", "pickling in this context")
    assert picklemode.is_by_value()
    pickling("reference")
    assert not picklemode.is_by_value()


def test_one_object_for_several_blocks():
    by_value = pickling("value")
    with by_value, by_value:
        assert picklemode.is_by_value()
    with pickling("reference"):
        with by_value:
            assert picklemode.is_by_value()
        assert not picklemode.is_by_value()


@pytest.mark.skipif(
    getattr(sys.flags, "thread_inherit_context", False), reason="threads have the context"
)
def test_block_holds_in_its_context_only():
    seen = []
    with pickling("value"):
        context = contextvars.copy_context()
        in_thread(lambda: seen.append(picklemode.is_by_value()))
        in_thread(lambda: context.run(lambda: seen.append(picklemode.is_by_value())))
    pickling("value")
    in_thread(lambda: seen.append(picklemode.is_by_value()))
    assert seen == [False, True, True]


@pytest.mark.parametrize("mode", ["values", "", None, 1])
def test_other_modes_are_refused(mode):
    with pytest.raises(ValueError, match=r"'reference' or 'value', got "):
        pickling(mode)
    assert picklemode.setting() == BY_DEFAULT


@pytest.mark.parametrize("mode", ["value", " reference "])
def test_environment_sets_it_and_a_call_wins_over_it(monkeypatch, mode):
    monkeypatch.setenv(picklemode.VARIABLE, mode)
    assert picklemode.setting() == (mode.strip(), "SHAREDARRAY_PICKLING")
    other = "reference" if mode == "value" else "value"
    pickling(other)
    assert picklemode.setting() == (other, "pickling")


def test_unknown_mode_of_the_environment_warns_once_and_is_ignored(monkeypatch):
    monkeypatch.setenv(picklemode.VARIABLE, "values")
    with pytest.warns(RuntimeWarning, match="SHAREDARRAY_PICKLING='values' is neither") as caught:
        assert [picklemode.is_by_value() for _ in range(2)] == [False, False]
    assert len(caught) == 1


def test_program_has_what_its_environment_says(monkeypatch):
    monkeypatch.setenv(picklemode.VARIABLE, "value")
    code = "import pickle, sharedarray; print(len(pickle.dumps(sharedarray.zeros(1000))) > 8000)"
    assert run_python(code) == "True\n"


def test_show_config_says_it():
    assert config.config_facts()["pickling"] == "by reference (from default)"
    with pickling("value"):
        assert config.config_facts()["pickling"] == "by value (from pickling in this context)"


# pickles by value


def by_value(a, protocol=None):
    with pickling("value"):
        return pickle.dumps(a, protocol)


def assert_same_data(loaded, a):
    assert type(loaded) is SharedArray
    assert is_shared(loaded)
    assert (loaded.shape, loaded.dtype) == (a.shape, a.dtype)
    assert issubclass(loaded.dtype.type, np.record) == issubclass(a.dtype.type, np.record)
    assert loaded.flags.writeable == a.flags.writeable
    assert not np.shares_memory(loaded, a)
    # Padding is no data.
    has_padding = a.dtype.names is not None
    same = np.array_equal if has_padding else lambda x, y: x.tobytes() == y.tobytes()
    assert same(np.asarray(loaded), np.asarray(a))


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_protocol(dtype, protocol):
    a = filled_array((3, 4), dtype)
    for view in (a, a[::-1, 1::2], a.T, a[:0], a[1:2, 3]):
        plain = pickle.loads(pickle.dumps(np.asarray(view), protocol))  # may be in native order
        assert_same_data(pickle.loads(by_value(view, protocol)), plain)


@pytest.mark.parametrize("n", [0, 1, (64 << 10) + 1, 1 << 20, 8 << 20])
def test_sizes_and_what_is_written_afterwards(n):
    a = sharedarray.full(n, 3, "u1")
    saved = by_value(a)
    a[...] = 4
    loaded = pickle.loads(saved)
    assert loaded.shape == (n,)
    assert (loaded == 3).all()


def test_read_only_scalar_and_broadcast():
    a = sharedarray.arange(3.0)
    a.flags.writeable = False
    wide = np.broadcast_to(a, (4, 3), subok=True)
    for view in (a, a[1:2].reshape(()), wide):
        assert_same_data(pickle.loads(by_value(view)), view)


def test_it_loads_where_the_memory_is_not(tmp_path):
    path = tmp_path / "a.pickle"
    path.write_bytes(by_value(sharedarray.arange(70_000)))
    code = f"import pickle, pathlib; a = pickle.loads(pathlib.Path({str(path)!r}).read_bytes())"
    assert run_python(f"{code}; print(type(a).__name__, a.sum())") == "SharedArray 2449965000\n"


def test_memory_order_stays():
    a = sharedarray.zeros((3, 4), order="F")
    assert pickle.loads(by_value(a)).flags.f_contiguous


def test_data_go_out_of_band_without_a_copy():
    a = sharedarray.arange(1 << 18)
    buffers = []
    with pickling("value"):
        stream = pickle.dumps(a, 5, buffer_callback=buffers.append)
    assert len(stream) < 1000
    (buffer,) = buffers
    assert np.shares_memory(np.frombuffer(buffer.raw(), a.dtype), a)
    loaded = pickle.loads(stream, buffers=buffers)
    assert_same_data(loaded, a)


def test_pickling_in_band_copies_once():
    a = sharedarray.zeros(1 << 20, "u1")

    class Writer(io.BytesIO):
        def write(self, data):
            if memoryview(data).nbytes == a.nbytes:
                seen.append(np.shares_memory(np.frombuffer(data, "u1"), a))
            return super().write(data)

    seen = []
    with pickling("value"):
        pickle.Pickler(Writer(), 5).dump(a)
    assert seen == [True]


def test_named_array_is_data_too():
    a = sharedarray.full(3, 5.0, name="test-by-value")
    try:
        saved = by_value(a)
    finally:
        sharedarray.unlink("test-by-value")
    assert_same_data(pickle.loads(saved), a)


def test_private_memory_stays_private():
    private = np.array(sharedarray.array([1.0, 2.0]), subok=True)
    assert type(pickle.loads(by_value(private))) is np.ndarray


def test_copies_are_what_they_are_in_any_mode():
    a = sharedarray.arange(3)
    with pickling("value"):
        assert type(copy.copy(a)) is type(copy.deepcopy(a)) is np.ndarray


def test_reference_again_after_the_block():
    a = sharedarray.arange(3)
    by_value(a)
    assert_same_memory(pickle.loads(pickle.dumps(a)), a)


def test_objects_in_a_forged_pickle_are_refused():
    with pytest.raises(TypeError, match="shared memory"):
        from_data(np.array([None, 1]), True)


def test_pools_of_the_package_share_memory_in_any_mode():
    a = sharedarray.zeros(4)
    with pickling("value"):
        pool = sharedarray.MapReduce(np=2)

        def write(i):
            a[i] = i + 1
            return a

        found = pool.map(write, range(4))
    assert a.tolist() == [1, 2, 3, 4]
    for b in found:
        assert_same_memory(b, a)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_worker_pickles_references_alone_where_it_is_asked_to():
    def lengths(_):
        a = sharedarray.zeros(100_000)
        with sharedarray.pickling("reference"):
            reference = pickle.dumps(a)
        assert np.shares_memory(pickle.loads(reference), a)
        return len(reference), len(pickle.dumps(a))

    ((short, long),) = sharedarray.MapReduce("process", np=1).map(lengths, [0])
    assert short < 1000
    assert long > 800_000
