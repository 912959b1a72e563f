import gzip
import io
import os
import socket
import tempfile
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

import sharedarray
from sharedarray import MapReduce, SharedArray
from sharedarray.files import load as module
from sharedarray.files.load import load
from sharedarray.files.npy import save
from tests.files.writing_support import names, small_files
from tests.functions.support import Untouched
from tests.ops.support import RecordingPool, assert_same_bits, each_pool, outcome


@pytest.fixture
def small():
    with small_files() as patch:
        yield patch


def arrays():
    cube = np.random.default_rng(0).random((4, 5, 6))
    records = np.zeros((6, 5), [("a", "u1"), ("b", ">f8"), ("c", "(2,)i2")])
    records["b"] = np.arange(30).reshape(6, 5)
    titled = np.zeros(20, np.dtype({"names": ["a"], "formats": ["f8"], "titles": ["title"]}))
    padded = np.zeros(9, np.dtype([("a", "u1"), ("b", "f8")], align=True))
    return {
        "contiguous": cube,
        "fortran": np.asfortranarray(cube),
        "permuted": cube.transpose(1, 2, 0),
        "strided": cube[::2, ::-1],
        "scalar": np.array(2.5),
        "one": np.array([[7]], order="F"),
        "records": records,
        "records, fortran": np.asfortranarray(records),
        "titles": titled,
        "padding": padded,
        "byte-swapped": np.arange(40, dtype=">u4").reshape(5, 8).T,
        "text": np.array(["abc", "de"] * 20),
        "bytes": np.array([b"abc", b""] * 20),
        "times": np.arange(40).astype("M8[ms]"),
        "bools": np.arange(200) % 3 == 0,
        "raw": np.arange(40).view("V16"),
        "empty": np.zeros((3, 0, 2), "f4", order="F"),
        "no bytes": np.zeros(4, "S0"),
        "many dimensions": np.arange(128.0).reshape((2,) * 7, order="F"),
    }


def check_loaded(result, path):
    expected = np.load(path)
    assert type(result) is SharedArray
    assert_same_bits(result, expected)
    assert result.flags.c_contiguous == expected.flags.c_contiguous
    assert result.flags.f_contiguous == expected.flags.f_contiguous
    assert result.flags.writeable


# save


@pytest.mark.parametrize("layout", arrays())
def test_saves_and_loads_what_numpy_does(small, tmp_path, layout):
    a = arrays()[layout]
    np.save(tmp_path / "expected.npy", a)
    pool = MapReduce(np=2)

    save(tmp_path / "x.npy", a, pool=pool)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()
    check_loaded(load(tmp_path / "x.npy", pool=pool), tmp_path / "expected.npy")
    with (tmp_path / "y").open("w+b") as file:
        file.write(b"abc")
        save(file, a)
        save(file, a)
        assert file.tell() == 3 + 2 * (tmp_path / "expected.npy").stat().st_size
        file.seek(3)
        for _ in range(2):
            check_loaded(load(file), tmp_path / "expected.npy")
        assert file.read() == b""


@pytest.mark.parametrize("version", [(2, 0), (3, 0)])
def test_other_versions(small, tmp_path, version):
    dtype = (
        [("\N{GREEK SMALL LETTER PI} \\u03c0 'x'", "f8"), ("\U0001f980", "i2")]
        if version == (3, 0)
        else [("x" * 70_000, "f8")]
    )
    a = np.zeros(100, dtype)
    a[a.dtype.names[0]] = np.arange(100)
    limit = 100_000
    with pytest.warns(UserWarning, match="format"):
        np.save(tmp_path / "expected.npy", a)
    with pytest.warns(UserWarning, match="format"):
        save(tmp_path / "x.npy", a)
    content = (tmp_path / "x.npy").read_bytes()
    assert content == (tmp_path / "expected.npy").read_bytes()
    assert tuple(content[6:8]) == version
    assert_same_bits(load(tmp_path / "x.npy", max_header_size=limit, pool=MapReduce(np=2)), a)
    for small_limit in (20, 150 if version == (3, 0) else 10_000):
        expected = outcome(lambda s=small_limit: np.load(tmp_path / "x.npy", max_header_size=s))
        result = outcome(lambda s=small_limit: load(tmp_path / "x.npy", max_header_size=s))
        assert expected[0] == result[0]


def test_metadata_is_dropped_with_numpys_warning(tmp_path):
    a = np.zeros(3, np.dtype("f8", metadata={"a": 1}))
    with pytest.warns(UserWarning, match="metadata"):
        np.save(tmp_path / "expected.npy", a)
    with pytest.warns(UserWarning, match="metadata"):
        save(tmp_path / "x.npy", a)
    assert (tmp_path / "x.npy").read_bytes() == (tmp_path / "expected.npy").read_bytes()


@pytest.mark.parametrize("name", ["x", "x.npy", "x.np", ".npy", "x.npy.gz"])
@pytest.mark.parametrize("kind", [str, Path])
def test_the_suffix(tmp_path, name, kind):
    (tmp_path / "ours").mkdir()
    (tmp_path / "numpys").mkdir()
    np.save(kind(tmp_path / "numpys" / name), [1, 2])
    save(kind(tmp_path / "ours" / name), [1, 2])
    assert names(tmp_path / "ours") == names(tmp_path / "numpys")


def test_what_cannot_be_saved(small, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(b"old")
    for a in (np.zeros(2, object), np.zeros(2, "i4,O")):
        with pytest.raises(ValueError, match="allow_pickle") as expected:
            np.save(tmp_path / "y", a, allow_pickle=False)
        with pytest.raises(ValueError, match="allow_pickle") as caught:
            save(path, a)
        assert str(caught.value) == str(expected.value)
    with pytest.raises(ValueError, match="saved"):
        save(path, np.zeros(2, np.dtypes.StringDType()))
    with pytest.raises(ValueError, match=r"numpy\.save"):
        save(path, [1], allow_pickle=True)
    for kwargs in ({"pool": 3}, {"progress": 3}):
        with pytest.raises(TypeError):
            save(path, [1], **kwargs)
    with pytest.raises(TypeError, match="masked"):
        save(path, np.ma.array([1, 2], mask=[0, 1]))
    with pytest.raises(TypeError, match=r"numpy\.save"):
        save(io.BytesIO(), [1])
    assert path.read_bytes() == b"old"


def test_an_error_while_saving_keeps_the_old_file(small, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(b"old")

    def interrupted(n_done):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        save(path, np.arange(1000), progress=interrupted)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.npy"]


def test_into_a_pipe(small):
    reading, writing_end = os.pipe()
    parts = []
    read = partial(os.read, reading, 9999)
    thread = threading.Thread(target=lambda: parts.extend(iter(read, b"")))
    thread.start()
    with os.fdopen(writing_end, "wb") as file:
        save(file, np.arange(1000).reshape(10, 100).T)
    thread.join()
    os.close(reading)
    assert np.array_equal(np.load(io.BytesIO(b"".join(parts))), np.arange(1000).reshape(10, 100).T)


# load


@each_pool
@pytest.mark.parametrize("n", [0, 1, 7, 8, 9, 16, 17, 509])
def test_sizes_by_any_pool(small, tmp_path, n, pool):
    for a in (np.arange(n) * 0.5, np.arange(3.0 * n).reshape(3, n).T):
        np.save(tmp_path / "x.npy", a)
        check_loaded(load(tmp_path / "x.npy", pool=pool()), tmp_path / "x.npy")


@given(
    shape=st.lists(st.integers(0, 9), max_size=4),
    dtype=st.sampled_from(["u1", ">f4", "S3", "i2,f8"]),
    order=st.sampled_from("CF"),
)
def test_any_array(shape, dtype, order):
    a = np.zeros(shape, dtype, order)
    a.view(np.ndarray).reshape(-1, order="A").view("u1")[:] = 7
    with small_files(), tempfile.TemporaryDirectory() as folder:
        save(f"{folder}/x", a)
        check_loaded(load(f"{folder}/x.npy", pool=MapReduce(np=2)), f"{folder}/x.npy")


@pytest.mark.parametrize("delta", [-1, 0, 1])
def test_around_the_real_threshold(tmp_path, monkeypatch, delta):
    monkeypatch.setattr(module, "MIN_FROMFILE", 1 << 20)
    np.save(tmp_path / "x.npy", np.zeros((1 << 20) + delta, "u1"))
    pool = RecordingPool(2)
    check_loaded(load(tmp_path / "x.npy", pool=pool), tmp_path / "x.npy")
    assert bool(pool.maps) is (delta >= 0)


def test_named_and_reserved(small, tmp_path):
    np.save(tmp_path / "x.npy", np.arange(100.0).reshape(4, 25).T)
    for n in ("small", "large"):
        small.setattr(module, "MIN_FROMFILE", 64 if n == "large" else 10**6)
        result = load(tmp_path / "x.npy", name="test-npy", reserve=True)
        assert_same_bits(sharedarray.attach("test-npy"), np.load(tmp_path / "x.npy"))
        sharedarray.unlink("test-npy")
        del result


def contents():
    """Return files that are none, or not whole."""
    file = io.BytesIO()
    np.save(file, np.arange(100.0).reshape(4, 25))
    whole = file.getvalue()
    objects = io.BytesIO()
    np.save(objects, np.array([{}]), allow_pickle=True)
    negative = io.BytesIO()
    npy.write_array_header_1_0(
        negative, {"descr": "<f8", "fortran_order": False, "shape": (-5, -5)}
    )
    return {
        "empty": b"",
        "short magic": whole[:3],
        "magic only": whole[:8],
        "header cut": whole[:50],
        "no data": whole[:128],
        "data cut": whole[:-1],
        "half": whole[:500],
        "version 9": whole[:6] + b"\x09\x00" + whole[8:],
        "no literal": whole[:10] + b"}" * 118 + whole[128:],
        "other keys": whole.replace(b"descr", b"descx"),
        "no dtype": whole.replace(b"<f8", b"<q9"),
        "negative": negative.getvalue() + bytes(1000),
        "huge": whole.replace(b"(4, 25), }      ", b"(4, 2500000), } "),
        "objects": objects.getvalue(),
        "text": b"1 2 3\n" * 40,
    }


@pytest.mark.parametrize("content", contents())
def test_what_is_no_array_is_judged_like_numpy(small, tmp_path, content):
    path = tmp_path / "x.npy"
    path.write_bytes(contents()[content])
    expected = outcome(lambda: np.load(path))
    assert expected[0] == "raised"
    assert outcome(lambda: load(path, pool=Untouched(), name="test-npy")) in (
        expected,
        ("raised", ValueError),
    )
    assert outcome(lambda: load(path, pool=Untouched())) == expected
    assert "test-npy" not in sharedarray.list_named()
    with path.open("rb") as file:
        assert outcome(lambda: load(file)) == expected
        assert not file.closed


def test_a_file_that_shrinks_while_it_is_read(small, tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, np.arange(1000))
    preadv = os.preadv

    def shrinking(descriptor, buffers, offset):
        os.truncate(path, 1000)
        return preadv(descriptor, buffers, offset)

    small.setattr(os, "preadv", shrinking)
    with pytest.raises(ValueError, match=r"Expected \(1000,\) = 1000 elements.* 109 "):
        load(path, name="test-npy", pool=MapReduce(np=2))
    assert "test-npy" not in sharedarray.list_named()


def test_what_is_refused(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, [1])
    with pytest.raises(ValueError, match=r"mmap_mode='r'"):
        load(path, mmap_mode="r")
    with pytest.raises(ValueError, match=r"numpy\.load"):
        load(path, allow_pickle=True)
    for kwargs in ({"pool": 3}, {"progress": 3}):
        with pytest.raises(TypeError):
            load(path, **kwargs)
    with pytest.raises(TypeError, match="BytesIO"):
        load(io.BytesIO(path.read_bytes()))
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(path.read_bytes())
    with gzip.open(tmp_path / "x.gz") as file, pytest.raises(TypeError, match="Gzip"):
        load(file)
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as file, pytest.raises(TypeError):
        load(file)
    for missing in (tmp_path / "no", tmp_path, ""):
        expected = outcome(lambda m=missing: np.load(m))
        assert outcome(lambda m=missing: load(m)) == expected
    reading, writing_end = os.pipe()
    os.close(writing_end)
    with os.fdopen(reading, "rb") as file, pytest.raises(OSError, match=r"seek|tell|Illegal"):
        load(file)


@pytest.mark.parametrize("n", [3, 1000])
def test_progress(small, tmp_path, n):
    a = np.arange(n)
    told = {"save": [], "load": []}
    save(tmp_path / "x", a, progress=told["save"].append)
    load(tmp_path / "x.npy", progress=told["load"].append)
    for calls in told.values():
        assert calls == sorted(set(calls))
        assert calls[-1] == a.nbytes
