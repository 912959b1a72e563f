import copy
import io
import os
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sharedarray import forks
from sharedarray.errors import SharedArrayUnpickleError
from sharedarray.memory import pickling, references, registry
from sharedarray.memory.array import SharedArray
from sharedarray.memory.creation import array, empty, zeros
from sharedarray.memory.named import unlink
from sharedarray.memory.registry import is_shared
from tests.memory.support import assert_same_memory, in_child

PROTOCOLS = range(pickle.HIGHEST_PROTOCOL + 1)

DTYPES = [
    *("?", "i1", "u2", "<i4", ">i4", "u8", "f2", ">f4", "f8", "g", "c8", ">c16", "G"),
    *("S5", "U3", ">U3", "V7", "M8", "M8[ns]", ">M8[25s]", "m8[D]", "longlong"),
    "S0",
    "V0",
    [("a", "i4"), ("b", ">f8", (2, 3))],
    np.dtype([("a", "i1"), ("b", "f8")], align=True),
    {"names": ["b", "a"], "formats": ["i2", "f8"], "offsets": [8, 0], "itemsize": 24},
    {"names": ["x"], "formats": ["f4"], "titles": ["a title"], "offsets": [2], "itemsize": 7},
    [("nested", [("x", "i1"), ("y", ">c16")], (2,)), ("day", "M8[D]")],
    (np.record, [("a", "i4"), ("b", "S3")]),
    (np.int32, {"low": ("i2", 0), "high": ("i2", 2)}),
    [],
]


def filled_array(shape, dtype):
    a = empty(shape, dtype)
    raw = np.random.default_rng(5).integers(0, 2, a.nbytes, "u1")
    registry.owner(a)[:] = raw[: a.nbytes]
    return a


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_dtype_and_protocol(dtype, protocol):
    a = filled_array((3, 4), dtype)
    for view in (a, a[::-1, 1::2], a.T, a[:0], a[1:2, 3]):
        assert_same_memory(pickle.loads(pickle.dumps(view, protocol)), view)


@pytest.mark.parametrize("shape", [(), 0, (5, 0), (0, 2**40), (1,) * 64, 100_000])
def test_shapes(shape):
    a = zeros(shape, "i4")
    for view in (a, a.T, a[...]):
        assert_same_memory(pickle.loads(pickle.dumps(view)), view)


@st.composite
def views(draw):
    """Draw a view of a shared array of three dimensions."""
    order = draw(st.sampled_from("CF"))
    view = empty(draw(st.tuples(*[st.integers(0, 6)] * 3)), "i4", order)
    view[...] = np.arange(view.size).reshape(view.shape)
    for _ in range(draw(st.integers(0, 4))):
        kind = draw(st.sampled_from(["slice", "transpose", "broadcast", "bytes", "one", "field"]))
        if kind == "slice" and view.ndim:
            bounds = st.none() | st.integers(-7, 7)
            steps = st.sampled_from([None, -3, -2, -1, 1, 2, 3])
            index = st.builds(slice, bounds, bounds, steps)
            view = view[tuple(draw(index) for _ in range(view.ndim))]
        elif kind == "transpose":
            view = view.transpose(draw(st.permutations(range(view.ndim))))
        elif kind == "broadcast":
            view = np.broadcast_to(view, (2, *view.shape), subok=True)
        elif kind == "one" and view.ndim and view.shape[0]:
            view = view[draw(st.integers(0, view.shape[0] - 1)), ...]
        elif kind == "bytes":
            view = view.view(view.dtype.newbyteorder())
        elif kind == "field" and view.dtype.itemsize == 4:
            pair = np.dtype([("low", "i2"), ("high", "i2")])
            view = view.view(pair)[draw(st.sampled_from(["low", "high"]))]
    if draw(st.booleans()):
        view.flags.writeable = False
    return view


@settings(max_examples=300)
@given(views(), st.sampled_from(PROTOCOLS))
def test_any_view_is_the_same_memory(view, protocol):
    assert_same_memory(pickle.loads(pickle.dumps(view, protocol)), view)


def test_a_child_has_the_same_memory_at_the_same_address():
    a = zeros((3, 4))
    stream = pickle.dumps(a[::-1, 1:])

    def child():
        loaded = pickle.loads(stream)
        loaded[0, 0] = 5
        return registry.address_of(loaded), loaded.strides

    assert in_child(child) == (registry.address_of(a[::-1, 1:]), (-32, 8))
    assert a[2, 1] == 5


def test_pickle_made_in_a_child_of_inherited_memory_loads_in_the_parent():
    a = zeros(10)
    loaded = pickle.loads(in_child(lambda: pickle.dumps(a[2:])))
    assert_same_memory(loaded, a[2:])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_address_is_in_a_pickle(protocol):
    a = zeros((50, 4))[3:]
    numbers = {
        arg for _, arg, _ in pickletools.genops(pickle.dumps(a, protocol)) if isinstance(arg, int)
    }
    segment = registry.owner(a).segment
    hidden = range(segment.address, segment.address + segment.nbytes)
    assert not [number for number in numbers if number in hidden]


def test_a_large_array_has_a_small_pickle():
    assert len(pickle.dumps(zeros(1_000_000))) < 250


# by value


def test_plain_view_and_results_pickle_with_their_data():
    a = array([1.0, 2.0, 3.0])
    for value in (np.asarray(a), a.view(np.ndarray), a.copy(), a + 1, a[[0, 1]]):
        loaded = pickle.loads(pickle.dumps(value))
        assert type(loaded) is np.ndarray
        assert not is_shared(loaded)
        np.testing.assert_array_equal(loaded, value)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_private_memory_pickles_with_its_data_in_spite_of_its_class(protocol):
    private = np.array(array([1.0, 2.0]), subok=True)
    assert type(private) is SharedArray
    loaded = pickle.loads(pickle.dumps(private, protocol))
    assert type(loaded) is np.ndarray
    np.testing.assert_array_equal(loaded, [1.0, 2.0])


def test_dumps_and_save_write_data(tmp_path):
    a = array([1.0, 2.0])
    assert type(pickle.loads(a.dumps())) is np.ndarray
    a.dump(tmp_path / "a.pickle")
    np.save(tmp_path / "a.npy", a)
    for name in ("a.pickle", "a.npy"):
        loaded = np.load(tmp_path / name, allow_pickle=True)
        np.testing.assert_array_equal(loaded, a)
        assert type(loaded) is np.ndarray


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_copies_are_private(copied):
    a = array([1.0, 2.0])
    made = copied(a)
    assert type(made) is np.ndarray
    assert made.flags.owndata
    assert type(copied({"a": [a]})["a"][0]) is (
        np.ndarray if copied is copy.deepcopy else SharedArray
    )


# dtypes


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtype_goes_and_comes_as_plain_values(dtype):
    dtype = np.dtype(dtype)
    spec = references.dtype_spec(dtype)
    assert references.dtype_from(spec) == dtype
    if dtype.names != ("low", "high"):  # an integer with fields
        assert is_plain(spec)


def is_plain(spec):
    if isinstance(spec, tuple):
        return all(map(is_plain, spec))
    return spec is None or type(spec) in (str, int, bool)


# modes

REFERENCE, TREE, VALUE, RESULT = pickling.REFERENCE, pickling.TREE, pickling.VALUE, pickling.RESULT


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="no descriptors of segments")
@pytest.mark.parametrize(
    ("mode", "small", "large", "named", "inherited"),
    [
        (REFERENCE, "load", "load", "load", "load"),
        (TREE, "_found_or_copied", "_adopted", "load", "load"),
        (VALUE, "_found_or_sent", "_found_or_sent", "_found_or_sent", "_found_or_sent"),
        (RESULT, "_found_or_copied", "_found_or_copied", "_found_or_copied", "load"),
    ],
)
def test_mode_says_how_an_array_is_pickled(mode, small, large, named, inherited, monkeypatch):
    def way(a):
        descriptors = []
        name = pickling.reduced(a, mode, descriptors)[0].__name__
        assert len(descriptors) == (name == "_adopted")
        return name

    a = zeros(1 << 21)
    assert (way(zeros(3)), way(a)) == (small, large)
    b = zeros(3, name="test-mode")
    unlink("test-mode")
    assert way(b) == named
    monkeypatch.setattr(forks, "process_token", lambda: b"of a child")
    assert way(a) == inherited


@pytest.mark.parametrize("is_elsewhere", [False, True])
def test_data_for_other_machines_are_not_loaded_on_this_one(is_elsewhere, monkeypatch):
    a = zeros(3)
    file = io.BytesIO()
    pickling.Pickler(file, VALUE).dump(a)
    assert registry.owner(pickle.loads(file.getvalue())) is registry.owner(a)
    if is_elsewhere:
        monkeypatch.setattr(pickling, "host_id", lambda: "another one")
    del a
    if is_elsewhere:
        assert pickle.loads(file.getvalue()).tolist() == [0, 0, 0]
    else:
        with pytest.raises(SharedArrayUnpickleError, match="freed"):
            pickle.loads(file.getvalue())


def test_plain_arrays_are_pickled_as_ever_in_any_mode():
    a = zeros(3)
    for mode in (REFERENCE, TREE, VALUE, RESULT):
        file = io.BytesIO()
        pickling.Pickler(file, mode).dump([np.asarray(a), 1])
        assert b"sharedarray" not in file.getvalue()
