"""fromfile and tofile of dask arrays in this process, and what is left where they fail."""

from __future__ import annotations

import os

import dask.array as da
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sharedarray.cluster.dask_sort import node_pool
from sharedarray.files.fromfile import fromfile
from sharedarray.files.tofile import tofile


@pytest.fixture(autouse=True)
def in_this_thread():
    import dask

    with dask.config.set(scheduler="sync"):
        yield


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "data.bin"
    path.write_bytes(np.random.default_rng(0).bytes(8 * 1009 + 5))
    return path


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("dtype", ["u1", ">i4", "f8", "S3", np.dtype(("i2", (2, 3)))])
@pytest.mark.parametrize("chunks", [100, -1, "auto", (7,), "1 KiB"])
@pytest.mark.parametrize(("offset", "count"), [(0, -1), (3, 50), (8 * 1009 + 5, -1), (0, 10**6)])
def test_reads_what_numpy_reads(path, dtype, chunks, offset, count):
    expected = np.fromfile(path, dtype, count, offset=offset)
    if chunks == (7,):
        chunks = ((1, 0, len(expected) - 1),) if len(expected) else 7

    x = fromfile(path, dtype, count, offset=offset, chunks=chunks)

    assert (x.dtype, x.shape) == (expected.dtype, expected.shape)
    assert x.compute().tobytes() == expected.tobytes()


def test_reads_past_the_page_cache_or_through_it(path):
    assert fromfile(path, "u1", chunks=5000, direct=True).compute().tobytes() == path.read_bytes()


def test_a_file_that_has_become_shorter_is_an_error(path):
    x = fromfile(path, "u1", chunks=1000)
    os.truncate(path, 3500)

    assert x[:3000].compute().size == 3000
    with pytest.raises(EOFError, match=r"expected 1000 bytes from byte 3000 .* found 500"):
        x[3000:4000].compute()


def test_another_version_of_the_file_has_another_name(path):
    names = [fromfile(path, "u1", chunks=c).name for c in (100, 100, 200)]
    os.utime(path, ns=(1, 1))

    assert names[0] == names[1]
    assert len({*names, fromfile(path, "u1", chunks=100).name}) == 3


def test_the_path_is_that_of_the_caller(path, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    x = fromfile(b"data.bin", "u1", chunks=1000)
    monkeypatch.chdir("/")

    assert x.compute().tobytes() == path.read_bytes()


@pytest.mark.parametrize(
    ("kwargs", "error"),
    [
        ({"sep": " "}, TypeError),
        ({"name": "a"}, TypeError),
        ({"progress": print}, TypeError),
        ({"pool": node_pool()}, TypeError),
        ({"dtype": object}, TypeError),
        ({"dtype": "V0"}, ValueError),
        ({"offset": -1}, ValueError),
        ({"offset": 10**5}, ValueError),
        ({"count": 10**5, "strict": True}, EOFError),
        ({"strict": True}, EOFError),
        ({"file": "/no/such/file"}, FileNotFoundError),
        ({"file": "/dev/null"}, ValueError),
        ({"file": 3}, TypeError),
    ],
)
def test_bad_input_is_refused_before_any_work(path, kwargs, error):
    with pytest.raises(error):
        fromfile(**{"file": path, "chunks": 10} | kwargs)


@given(
    shape=st.lists(st.integers(0, 7), max_size=3),
    chunk=st.integers(1, 4),
    transposed=st.booleans(),
    dtype=st.sampled_from(["u1", ">f8", "S3"]),
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_writes_what_numpy_writes(tmp_path, shape, chunk, transposed, dtype):
    a = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    x = da.from_array(a, chunks=chunk)
    a, x = (a.T, x.T) if transposed else (a, x)

    tofile(x, tmp_path / "out.bin")

    assert (tmp_path / "out.bin").read_bytes() == a.tobytes()
    assert names(tmp_path) == ["out.bin"]


def test_mode_stays_and_a_link_too(tmp_path):
    old, link = tmp_path / "old.bin", tmp_path / "link.bin"
    old.write_bytes(b"old")
    old.chmod(0o640)
    link.symlink_to(old)

    tofile(da.ones(3, chunks=2, dtype="u1"), link)

    assert old.read_bytes() == b"\1\1\1"
    assert old.stat().st_mode & 0o777 == 0o640
    assert link.is_symlink()


def test_a_block_that_fails_leaves_the_old_file(tmp_path):
    def fail(block, block_info=None):
        if block_info[0]["chunk-location"] == (2,):
            raise ZeroDivisionError
        return block

    (tmp_path / "out.bin").write_bytes(b"old")
    x = da.ones(100, chunks=20).map_blocks(fail, dtype="f8")

    with pytest.raises(ZeroDivisionError):
        tofile(x, tmp_path / "out.bin")

    assert (tmp_path / "out.bin").read_bytes() == b"old"
    assert names(tmp_path) == ["out.bin"]


def test_no_space_for_all_of_it_is_known_before_a_block_is_made(tmp_path):
    def fail(block):
        raise AssertionError(block)

    x = da.ones((1 << 58,), chunks=(1 << 56,)).map_blocks(fail, dtype="u1", meta=np.empty(0, "u1"))
    with pytest.raises(OSError, match=r"large|space"):
        tofile(x, tmp_path / "out.bin")

    assert names(tmp_path) == []


X = da.ones(4, chunks=2)


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: tofile(X, "x", ","), TypeError),
        (lambda: tofile(X, "x", progress=print), TypeError),
        (lambda: tofile(X, "x", pool=node_pool()), TypeError),
        (lambda: tofile(X, 3), TypeError),
        (lambda: tofile(X.astype(object), "x"), OSError),
        (lambda: tofile(X[X > 0], "x"), ValueError),
        (lambda: tofile(X, "/dev/null"), ValueError),
        (lambda: tofile(X, "folder/"), ValueError),
        (lambda: tofile(X, "/no/such/folder/x"), FileNotFoundError),
    ],
)
def test_bad_targets_are_refused_before_any_work(call, error, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error):
        call()

    assert names(tmp_path) == []
