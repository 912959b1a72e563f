"""Named segments that get fewer items than they were planned for."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

import sharedarray
from sharedarray.memory import building, named
from sharedarray_ops.files import reading
from tests.memory.support import assert_like_numpy

N = 1 << 20
# How many come; the pages of a page's end, of the header, of many pages.
N_FOUND = [0, 1, 503, 504, 505, 4096, N - 1, N]
SUBARRAY = np.dtype(("<i4", (2, 1)))


def from_pipe(n_found, dtype, folder):
    (folder / "data").write_bytes(expected(n_found, dtype).tobytes() + b"x")
    with os.popen(f"cat {folder / 'data'}") as pipe:
        return sharedarray.fromfile(pipe.buffer, dtype, N, name="x")


def from_shrinking_file(n_found, dtype, folder, monkeypatch):
    data = expected(n_found, dtype).tobytes()
    read = reading.read
    path = folder / "data"
    path.write_bytes(data + b"x" * (N * dtype.itemsize - len(data)))

    def shrink_and_read(*args, **kwargs):
        os.truncate(path, len(data))
        return read(*args, **kwargs)

    monkeypatch.setattr(reading, "read", shrink_and_read)
    monkeypatch.setattr("sharedarray.files.fromfile.MIN_FROMFILE", 1)
    return sharedarray.fromfile(path, dtype, name="x")


def expected(n_found, dtype):
    return np.arange(n_found * dtype.itemsize // 4, dtype="<i4").reshape(n_found, *dtype.shape)


@pytest.mark.parametrize("n_found", N_FOUND)
@pytest.mark.parametrize("dtype", [np.dtype("<i4"), SUBARRAY], ids=str)
def test_name_leads_to_what_came(folder, other, tmp_path, dtype, n_found):
    a = from_pipe(n_found, dtype, tmp_path)

    assert_like_numpy(a, expected(n_found, dtype))
    assert_like_numpy(sharedarray.attach("x"), expected(n_found, dtype))
    assert np.array_equal(np.load(named.path_of("x")), expected(n_found, dtype))
    assert other.run("(b := sa.attach('x')).shape, b.tobytes()") == (a.shape, a.tobytes())
    assert other.run("pickle.loads(s).tobytes()", s=pickle.dumps(a[1:])) == a[1:].tobytes()
    if n_found:
        other.run("b[-1] = 7")
        assert (a[-1] == 7).all()
    # The pages behind what came are free.
    assert Path(named.path_of("x")).stat().st_blocks * 512 <= a.nbytes + 2 * 4096 + 512


def test_file_that_shrinks_while_it_is_read(folder, other, tmp_path, monkeypatch):
    a = from_shrinking_file(5000, np.dtype("<i4"), tmp_path, monkeypatch)

    assert_like_numpy(a, expected(5000, np.dtype("<i4")))
    assert other.run("sa.attach('x').tobytes()") == a.tobytes()


def test_files_that_shrink_while_they_are_read(folder, other, tmp_path, monkeypatch):
    paths = [tmp_path / "a", tmp_path / "b"]
    for path in paths:
        path.write_bytes(bytes([1] * 10_000))
    read_files = reading.read_files

    def shrink_and_read(*args, **kwargs):
        os.truncate(paths[0], 6000)
        return read_files(*args, **kwargs)

    monkeypatch.setattr(reading, "read_files", shrink_and_read)
    a = sharedarray.fromfiles(paths, "u1", name="x")

    assert a.shape == (16_000,)
    assert other.run("sa.attach('x').tobytes()") == a.tobytes()


def test_who_was_attached_before_may_touch_all_of_it(folder, other):
    a = sharedarray.full(N, 7, "u1", name="x")
    other.run("b = sa.attach('x')")
    short = building.shortened(a, 5000, "x")

    header = 128
    code = f"b.shape, int(b[:5000].sum()), int(b[8192 - {header} : -{header}].sum())"
    assert other.run(code) == ((N,), 35_000, 0)
    other.run("b[-1] = b[4999] = 8")
    assert short[-1] == 8
    assert other.run("sa.attach('x').shape") == (5000,)


@pytest.mark.parametrize("is_taken", [False, True])
def test_name_that_has_gone_meanwhile(folder, is_taken):
    a = sharedarray.full(N, 7, "u1", name="x")
    sharedarray.unlink("x")
    if is_taken:
        sharedarray.full(3, 9, "u1", name="x")
    short = building.shortened(a, 5000, "x")

    assert_like_numpy(short, np.full(5000, 7, "u1"))
    assert sharedarray.list_named() == ["x"] * is_taken
    if is_taken:
        assert_like_numpy(sharedarray.attach("x"), np.full(3, 9, "u1"))


def test_without_a_name_nothing_is_freed_or_noted():
    a = sharedarray.full(N, 7, "u1")

    assert_like_numpy(building.shortened(a, 5000, None), np.full(5000, 7, "u1"))
    assert (a == 7).all()
